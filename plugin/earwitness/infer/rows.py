"""From an answer to a line of predictions: read, vote, map back to the record's own order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.files import json_value
from earwitness.infer.decide import abstention, in_tie_band
from earwitness.infer.engine import Answer, Item
from earwitness.infer.menu import expected_score
from earwitness.infer.options import Decoding
from earwitness.judges import parse
from earwitness.judges.answers import mirror_verdict
from earwitness.judges.judgement import Judgement
from earwitness.judges.spec import JudgeSpec

DIGITS = 7
"""Significant digits of a probability: what float32 scores carry."""

_OWN_KEYS = ("verdict", "score", "scores", "rationale", "thinking", "unscored")
"""Fields of a ``Judgement`` that have a key of their own in a row; the others stand under ``read``."""

Probabilities = Mapping[str, float]


def prediction(item: Item, answer: Answer, model: Any, decoding: Decoding) -> dict[str, Any]:
    """Return the line of one item.

    Keys of every row: ``id, dataset, row, aspect, order, audios`` (as shown), ``raw`` (the text; of a vote the first
    that voted for the winner), ``verdict`` (in the record's own order), ``shown_verdict`` (as the model saw it),
    ``unscored`` (why the main result is missing), ``rationale, thinking``, ``probabilities`` (of the menu, in the
    record's own order, summing to 1, the mean over samples; null where the result is not said by a label),
    ``menu_mass`` (how likely the model was to say any label there, see ``LabelShares``),
    ``reference, meta, model, prompt`` (hash), ``decoding``. Where there are any: ``score`` and ``scores`` (means over
    samples), ``expected_score`` (under the probabilities of the scale's whole numbers), ``read`` (whatever else the
    judge's parser found, as shown), ``samples``.

    Args:
        item: what was asked.
        answer: what came back.
        model: what the row says of the model.
        decoding: how it was decoded.
    """
    judge, exchanged = item.record.judge, item.order == "ba"
    readings = [parse(text, judge) for text in answer.texts]
    shares = [share for share in answer.shares if share is not None]
    shown = _mean([share.probabilities for share in shares])
    chosen, verdict, unscored = _result(answer, readings, shown)
    if verdict is not None and in_tie_band(shown, decoding.tie_band):
        verdict = "tie"
    own, reason = verdict, abstention(shown, decoding.abstain)
    if verdict is not None and reason is not None:
        own, unscored = None, reason
    read = Judgement() if chosen is None else readings[chosen]
    row = {
        "id": item.record.id,
        "dataset": item.record.dataset,
        "row": item.record.row,
        "aspect": item.record.aspect,
        "order": item.order,
        "audios": list(item.shown.audios),
        "raw": None if chosen is None else answer.texts[chosen],
        "verdict": mirror_verdict(own) if own is not None and exchanged else own,
        "shown_verdict": verdict,
        "unscored": unscored,
        "rationale": read.rationale,
        "thinking": read.thinking,
        "probabilities": _rounded(_exchange(shown) if exchanged else shown),
        "menu_mass": _short(math.fsum(share.mass for share in shares) / len(shares)) if shares else None,
        **_scores(judge, readings, shown),
    }
    rest = {name: value for name, value in read.to_json().items() if value and name not in _OWN_KEYS}
    if rest:
        row["read"] = rest
    if decoding.samples > 1:
        row["samples"] = [
            {"raw": text, "shown_verdict": reading.verdict, "score": reading.score}
            for text, reading in zip(answer.texts, readings, strict=True)
        ]
    row |= {
        "reference": item.record.reference,
        "meta": item.record.meta,
        "model": model,
        "prompt": item.prompt_hash,
        "decoding": decoding.to_json(),
    }
    plain: dict[str, Any] = json_value(row)
    return plain


def _result(
    answer: Answer, readings: Sequence[Judgement], shown: Probabilities | None
) -> tuple[int | None, str | None, str | None]:
    """Return the reading to show, the verdict as shown, and why the main result is missing."""
    if answer.failure is not None:
        return None, None, f"not judged: {answer.failure}"
    if answer.unscored is not None:
        return None, None, answer.unscored
    good = [place for place, reading in enumerate(readings) if reading.unscored is None]
    if not good:
        several = f"none of {len(readings)} samples can be read; the first: " if len(readings) > 1 else ""
        return 0, None, f"{several}{readings[0].unscored}"
    votes = Counter(readings[place].verdict for place in good)
    most = max(votes.values())
    leaders = [verdict for verdict in votes if votes[verdict] == most]
    if len(leaders) > 1 and shown is None:
        return 0, None, f"the vote is level: {', '.join(f'{name} {count}' for name, count in sorted(votes.items()))}"
    # Judges without a menu have no verdict to vote on: all their readings lead together.
    winner = max(leaders, key=lambda leader: (shown or {}).get(str(leader), 0.0))
    return next(place for place in good if readings[place].verdict == winner), winner, None


def _scores(judge: JudgeSpec, readings: Sequence[Judgement], shown: Probabilities | None) -> dict[str, Any]:
    """Return the scores of a judge that gives any: means over the samples that could be read."""
    good = [reading for reading in readings if reading.unscored is None]
    found: dict[str, Any] = {}
    scores = [reading.score for reading in good if reading.score is not None]
    if scores:
        found["score"] = math.fsum(scores) / len(scores)
    if good and good[0].scores:
        found["scores"] = {name: _middle([reading.scores.get(name) for reading in good]) for name in good[0].scores}
    if judge.kind.target == "score" and shown is not None:
        found["expected_score"] = _short(expected_score(shown, {name: float(name) for name in shown}))
    return found


def _middle(values: Sequence[float | str | None]) -> float | str | None:
    """Return the mean of numbers, the most frequent of words (the first of equals)."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers:
        return math.fsum(numbers) / len(numbers)
    return Counter(value for value in values if value is not None).most_common(1)[0][0]


def _mean(scores: Sequence[Probabilities]) -> dict[str, float] | None:
    if not scores:
        return None
    return {label: math.fsum(score[label] for score in scores) / len(scores) for label in scores[0]}


def _exchange(shown: Probabilities | None) -> dict[str, float] | None:
    """Map probabilities back to the record's own order, labels in their usual sequence."""
    return None if shown is None else {label: shown[mirror_verdict(label)] for label in shown}


def _rounded(scores: Probabilities | None) -> dict[str, float] | None:
    return None if scores is None else {label: _short(score) for label, score in scores.items()}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
