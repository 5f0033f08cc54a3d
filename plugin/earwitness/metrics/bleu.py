"""BLEU of generated descriptions, through sacrebleu, with an interval over texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap, percentile_interval, replicate_sums

TOKENIZERS = ("13a", "zh", "char", "intl")


def bleu(
    references: Sequence[str],
    texts: Sequence[str | None],
    *,
    tokenize: str = "13a",
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Corpus BLEU in 0..100 with one reference a text, as M. Post, A call for clarity in reporting BLEU scores, 2018.

    Args:
        references: one a row.
        texts: the judge's; ``None`` or empty counts as an empty text, and as unscored.
        tokenize: one of ``TOKENIZERS``; "zh" for Chinese, "char" for Japanese.
        bootstrap: resamples, level and seed.

    Returns:
        BLEU with sacrebleu's signature in ``params``; undefined without rows.

    Raises:
        UserError: sacrebleu is not installed, or no such tokenizer.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise UserError(
            "BLEU needs sacrebleu, which is not installed; fix: pip install 'earwitness[metrics]'"
        ) from None
    if tokenize not in TOKENIZERS:
        raise UserError(f"unknown BLEU tokenizer {tokenize!r}; allowed: {', '.join(TOKENIZERS)}")
    missing = sum(not text for text in texts)
    pairs = [(text or "", reference) for text, reference in zip(texts, references, strict=True)]
    if not pairs:
        return Figure.undefined("no rows", 0)
    metric = BLEU(tokenize=tokenize)
    value = float(metric.corpus_score([text for text, _ in pairs], [[reference for _, reference in pairs]]).score)
    params = {"signature": str(metric.get_signature())}
    if not bootstrap.resamples:
        return Figure(value, len(pairs), missing, params=params)
    # BLEU is a function of sums over texts: matches and totals of four n-gram orders, and two lengths.
    counts = [metric.corpus_score([text], [[reference]]) for text, reference in pairs]
    sums = replicate_sums([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in counts], None, bootstrap)
    draws = [
        BLEU.compute_bleu(row[:4].tolist(), row[4:8].tolist(), int(row[8]), int(row[9]), smooth_method="exp").score
        for row in np.rint(sums).astype(int)
    ]
    return Figure(
        value, len(pairs), missing, percentile_interval(draws, bootstrap.level), params=params | bootstrap.params()
    )
