"""What the labels of a dataset can and cannot measure: their balance, and how often the first clip wins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from earwitness.data.findings import Finding
from earwitness.data.records import Record

MIN_LABELS = 2
"""Fewer labels cannot be said to be all the same."""
MAX_SHARE = 0.9
"""A label beyond this share of the rows: a judge that always gives it looks good."""
POSITION_Z = 2.576
"""Standard errors from one half at which the share of first wins is no chance (two-sided 1%)."""


def label_counts(records: Iterable[Record]) -> dict[str, Counter[str | float]]:
    """Count the labels of each question: by aspect, under ``""`` for all aspects together.

    Judges that give each aspect a value count these; verdicts, names and scores are counted as they are.
    """
    counts: dict[str, Counter[str | float]] = {"": Counter()}
    for record in records:
        for aspect, label in _labels(record):
            if aspect:
                counts.setdefault(aspect, Counter())[label] += 1
            if not isinstance(record.reference, dict):
                counts[""][label] += 1
    return {aspect: count for aspect, count in counts.items() if count}


def first_wins(records: Iterable[Record]) -> tuple[int, int]:
    """Return how many pairs the first clip wins, and how many have a winner."""
    verdicts = Counter(record.reference for record in records if isinstance(record.reference, str))
    return verdicts["first"], verdicts["first"] + verdicts["second"]


def label_findings(file: str, records: Sequence[Record]) -> list[Finding]:
    """Say where the labels are so one-sided that accuracy on them says nothing.

    One label for all rows is an error: a judge that never listens is always right. (With an ``order_swap`` of
    "random" it is a warning, because the rows shown will differ.)
    """
    return [*_unlabelled(file, records), *_balance(file, records), *_position(file, records)]


def _labels(record: Record) -> Iterator[tuple[str, str | float]]:
    if isinstance(record.reference, dict):
        yield from record.reference.items()
    elif record.reference is not None:
        yield record.aspect or "", record.reference


def _unlabelled(file: str, records: Sequence[Record]) -> Iterator[Finding]:
    """Rows for inference among rows for training: the host drops them from a training set."""
    missing = [record.row for record in records if record.response is None]
    if 0 < len(missing) < len(records):
        several = f"{len(missing)} of {len(records)} rows have no label" if len(missing) > 1 else "has no label"
        message = f"{file}, row {missing[0]}: {several}; training leaves such rows out"
        yield Finding("warning", "unlabelled", message, missing[0])


def _balance(file: str, records: Sequence[Record]) -> Iterator[Finding]:
    counts = label_counts(records)
    swapped = any(record.judge.order_swap == "random" for record in records)
    constant = {
        aspect: next(iter(count)) for aspect, count in counts.items() if len(count) == 1 and count.total() >= MIN_LABELS
    }
    nothing_else = bool(constant) and ("" in constant or len(constant) == len(counts))
    if nothing_else:
        label = constant.get("", next(iter(constant.values())))
        rows = sum(record.reference is not None for record in records)
        what = (
            f"all {rows} labels are {label!r}" if "" in constant else f"every aspect has one value in all {rows} rows"
        )
        yield Finding(
            "warning" if swapped else "error",
            "one label",
            f"{file}: {what}; a judge that always says so is always right, so this set can neither measure nor teach",
        )
        return
    if "" in counts and len(counts) == 2:
        counts = {"": counts[""]}  # the only aspect says the same again
    for aspect, label in constant.items():
        message = f"{file}: aspect {aspect!r}: all {counts[aspect].total()} labels are {label!r}"
        yield Finding("warning", "one label", message)
    for aspect, count in counts.items():
        label, most = count.most_common(1)[0]
        if len(count) > 1 and most / count.total() > MAX_SHARE:
            of = f"aspect {aspect!r}: " if aspect else ""
            message = f"{file}: {of}{most} of {count.total()} labels are {label!r}; always saying so is right as often"
            yield Finding("warning", "label balance", message)


def _position(file: str, records: Sequence[Record]) -> Iterator[Finding]:
    first, decided = first_wins(records)
    if 0 < first < decided and abs(first - decided / 2) > POSITION_Z * math.sqrt(decided) / 2:
        yield Finding(
            "warning",
            "position balance",
            f"{file}: the first clip wins {first} of {decided} decided pairs ({first / decided:.0%}); a judge can "
            "learn the position instead of the sound: set order_swap to 'random', or judge both orders",
        )
