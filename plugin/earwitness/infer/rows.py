"""From an answer to a line of predictions: read, vote, map back to the record's own order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.infer.decide import abstention, in_tie_band
from earwitness.infer.engine import Answer, Item
from earwitness.infer.options import Decoding
from earwitness.judges.answers import mirror_verdict
from earwitness.judges.verdicts import Verdict, parse_verdict

DIGITS = 7
"""Significant digits of a probability: what float32 scores carry."""

Probabilities = Mapping[str, float]


def prediction(item: Item, answer: Answer, model: Any, decoding: Decoding) -> dict[str, Any]:
    """Return the line of one item.

    Keys: ``id, dataset, row, aspect, order, audios`` (as shown), ``raw`` (the text; of a vote the first that voted for
    the winner), ``verdict`` (in the record's own order), ``shown_verdict`` (as the model saw it), ``unscored`` (why
    there is no verdict), ``rationale``, ``probabilities`` (in the record's own order, summing to 1, the mean over
    samples), ``samples`` (only where several were drawn), ``reference, meta, model, prompt`` (hash), ``decoding``.

    Args:
        item: what was asked.
        answer: what came back.
        model: what the row says of the model.
        decoding: how it was decoded.
    """
    judge = item.record.judge
    texts = answer.texts
    readings = [parse_verdict(text, judge) for text in texts]
    shown = _mean([scores for scores in answer.probabilities if scores is not None])
    unscored: str | None
    if answer.failure is not None or answer.unscored is not None:
        chosen, verdict, unscored = None, None, answer.unscored or f"not judged: {answer.failure}"
    else:
        chosen, verdict, unscored = _vote(readings, shown)
    if verdict is not None and in_tie_band(shown, decoding.tie_band):
        verdict = "tie"
    own, reason = verdict, abstention(shown, decoding.abstain)
    if verdict is not None and reason is not None:
        own, unscored = None, reason
    exchanged = item.order == "ba"
    row = {
        "id": item.record.id,
        "dataset": item.record.dataset,
        "row": item.record.row,
        "aspect": item.record.aspect,
        "order": item.order,
        "audios": list(item.shown.audios),
        "raw": None if chosen is None else texts[chosen],
        "verdict": mirror_verdict(own) if own is not None and exchanged else own,
        "shown_verdict": verdict,
        "unscored": unscored,
        "rationale": None if chosen is None else readings[chosen].rationale,
        "thinking": None if chosen is None else readings[chosen].thinking,
        "probabilities": _rounded(_exchange(shown) if exchanged else shown),
    }
    if decoding.samples > 1:
        row["samples"] = [
            {"raw": text, "shown_verdict": reading.verdict} for text, reading in zip(texts, readings, strict=True)
        ]
    row |= {
        "reference": item.record.reference,
        "meta": item.record.meta,
        "model": model,
        "prompt": item.prompt_hash,
        "decoding": decoding.to_json(),
    }
    return _plain(row)


def _vote(readings: Sequence[Verdict], shown: Probabilities | None) -> tuple[int, str | None, str | None]:
    """Return the reading to show, the verdict with most votes, or why there is none.

    Votes that are level are decided by the mean label probabilities; without those the row is unscored.
    """
    if len(readings) == 1:
        return 0, readings[0].verdict, readings[0].unscored
    votes = Counter(reading.verdict for reading in readings if reading.verdict is not None)
    if not votes:
        return 0, None, f"none of {len(readings)} samples has a verdict; the first: {readings[0].unscored}"
    most = max(votes.values())
    leaders = [verdict for verdict in votes if votes[verdict] == most]
    if len(leaders) > 1 and shown is None:
        return 0, None, f"the vote is level: {', '.join(f'{name} {count}' for name, count in sorted(votes.items()))}"
    verdict = leaders[0] if shown is None else max(leaders, key=lambda leader: shown.get(leader, 0.0))
    return next(place for place, reading in enumerate(readings) if reading.verdict == verdict), verdict, None


def _mean(scores: Sequence[Probabilities]) -> dict[str, float] | None:
    if not scores:
        return None
    return {label: math.fsum(score[label] for score in scores) / len(scores) for label in scores[0]}


def _exchange(shown: Probabilities | None) -> dict[str, float] | None:
    """Map probabilities back to the record's own order, labels in their usual sequence."""
    return None if shown is None else {label: shown[mirror_verdict(label)] for label in shown}


def _rounded(scores: Probabilities | None) -> dict[str, float] | None:
    return None if scores is None else {label: float(f"{score:.{DIGITS}g}") for label, score in scores.items()}


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are none become null, anything unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
