"""When the evaluator fails too often, training must stop rather than learn from what is left."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable


class EvaluatorError(RuntimeError):
    """The evaluator failed above the declared rate. Training writes a checkpoint and ends with this message."""


class FailureMonitor:
    """Counts failed grades over the last ones given.

    A grade is failed when the evaluator gave none: no answer, or none that could be read. An answer of the policy that
    could not be graded at all (no ``<answer>`` part) is not the evaluator's failure and is not counted here.

    Args:
        rate: the share of failed grades above which ``check`` raises, 0 to 1; 1 never raises.
        window: how many of the latest grades are looked at.
        minimum: no judgement before this many grades.
    """

    def __init__(self, rate: float = 0.2, window: int = 1000, minimum: int = 20) -> None:
        self.rate = rate
        self.minimum = minimum
        self._recent: deque[str | None] = deque(maxlen=window)
        self.graded = 0
        self.failed = 0

    def add(self, reasons: Iterable[str | None]) -> None:
        """Take one item for each grade: None, or why it failed."""
        for reason in reasons:
            self._recent.append(reason)
            self.graded += 1
            self.failed += reason is not None

    def counts(self) -> tuple[int, int]:
        """Failed and all grades of the window. Several processes add theirs up and hand the sums to ``check``."""
        return sum(reason is not None for reason in self._recent), len(self._recent)

    def check(self, counts: tuple[int, int] | None = None) -> None:
        """Raise if the failure rate is above the limit.

        Args:
            counts: failed and all grades over every process, so that all of them stop at the same step; by default
                this process's own.

        Raises:
            EvaluatorError: names the rate, the limit and the most frequent reasons.
        """
        failed, graded = self.counts() if counts is None else counts
        if graded < self.minimum or failed <= self.rate * graded:
            return
        kinds = Counter(reason.split(":", 1)[0] for reason in self._recent if reason)
        last = next((reason for reason in reversed(self._recent) if reason), None)
        seen = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(4)) or "none in this process"
        raise EvaluatorError(
            f"the evaluator failed on {failed} of the last {graded} grades ({failed / graded:.0%}), above the limit of "
            f"{self.rate:.0%}; reasons: {seen}" + (f"; the last one: {last}" if last else "")
        )
