"""What the labels of a dataset can and cannot measure: their balance, and how often the first clip wins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from earwitness.data.findings import Finding
from earwitness.data.records import Record

MIN_LABELS = 2
"""Fewer labels cannot be said to be all the same."""
MAX_SHARE = 0.9
"""A label beyond this share of the rows: a judge that always gives it looks good."""
POSITION_Z = 2.576
"""Standard errors from one half at which the share of first wins is no chance (two-sided 1%)."""


@dataclass
class LabelTally:
    """The labels of a dataset, counted row by row.

    Attributes:
        rows: how many there are.
        labelled: rows with a reference.
        unanswered: rows without a response to train on.
        first_unanswered: the first of them.
        by_aspect: labels of each question: by aspect, under ``""`` for all aspects together. Judges that give each
            aspect a value count these; verdicts, names and scores are counted as they are.
        swapped: whether a judge shows its clips in random order in training.
    """

    rows: int = 0
    labelled: int = 0
    unanswered: int = 0
    first_unanswered: int | None = None
    by_aspect: dict[str, Counter[str | float]] = field(default_factory=lambda: {"": Counter()})
    swapped: bool = False

    def add(self, record: Record) -> None:
        """Count one row."""
        self.rows += 1
        self.swapped = self.swapped or record.judge.order_swap == "random"
        if record.response is None:
            self.unanswered += 1
            if self.first_unanswered is None:
                self.first_unanswered = record.row
        if record.reference is None:
            return
        self.labelled += 1
        for aspect, label in _labels(record):
            if aspect:
                self.by_aspect.setdefault(aspect, Counter())[label] += 1
            if not isinstance(record.reference, dict):
                self.by_aspect[""][label] += 1

    @property
    def counts(self) -> dict[str, Counter[str | float]]:
        """``by_aspect`` without what has no labels."""
        return {aspect: count for aspect, count in self.by_aspect.items() if count}

    @property
    def first_wins(self) -> tuple[int, int]:
        """How many pairs the first clip wins, and how many have a winner."""
        verdicts = self.by_aspect[""]
        return verdicts["first"], verdicts["first"] + verdicts["second"]


def label_findings(file: str, labels: LabelTally) -> list[Finding]:
    """Say where the labels are so one-sided that accuracy on them says nothing.

    One label for all rows is an error: a judge that never listens is always right. (With an ``order_swap`` of
    "random" it is a warning, because the rows shown will differ.)
    """
    return [*_unlabelled(file, labels), *_balance(file, labels), *_position(file, labels)]


def _labels(record: Record) -> Iterator[tuple[str, str | float]]:
    if isinstance(record.reference, dict):
        yield from record.reference.items()
    elif record.reference is not None:
        yield record.aspect or "", record.reference


def _unlabelled(file: str, labels: LabelTally) -> Iterator[Finding]:
    """Rows for inference among rows for training: the host drops them from a training set."""
    missing, row = labels.unanswered, labels.first_unanswered
    if 0 < missing < labels.rows:
        several = f"{missing} of {labels.rows} rows have no label" if missing > 1 else "has no label"
        message = f"{file}, row {row}: {several}; training leaves such rows out"
        yield Finding("warning", "unlabelled", message, row)


def _balance(file: str, labels: LabelTally) -> Iterator[Finding]:
    counts = labels.counts
    constant = {
        aspect: next(iter(count)) for aspect, count in counts.items() if len(count) == 1 and count.total() >= MIN_LABELS
    }
    nothing_else = bool(constant) and ("" in constant or len(constant) == len(counts))
    if nothing_else:
        label = constant.get("", next(iter(constant.values())))
        what = (
            f"all {labels.labelled} labels are {label!r}"
            if "" in constant
            else f"every aspect has one value in all {labels.labelled} rows"
        )
        yield Finding(
            "warning" if labels.swapped else "error",
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


def _position(file: str, labels: LabelTally) -> Iterator[Finding]:
    first, decided = labels.first_wins
    if 0 < first < decided and abs(first - decided / 2) > POSITION_Z * math.sqrt(decided) / 2:
        yield Finding(
            "warning",
            "position balance",
            f"{file}: the first clip wins {first} of {decided} decided pairs ({first / decided:.0%}); a judge can "
            "learn the position instead of the sound: set order_swap to 'random', or judge both orders",
        )
