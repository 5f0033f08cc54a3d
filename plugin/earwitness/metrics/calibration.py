"""Whether a judge knows when it is right: calibration error, the reliability curve, and risk against coverage.

References: M. P. Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015 (expected
calibration error); C. Guo et al., On calibration of modern neural networks, ICML 2017 (15 bins of equal width);
Y. Geifman and R. El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017 (risk-coverage).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import (
    DEFAULT,
    Bootstrap,
    Floats,
    Ints,
    percentile_interval,
    ratio,
    replicate_sums,
    replicate_weights,
)

BINS = 15
CURVE_POINTS = 100
EXACT_ROWS = 2_000
"""Up to this many rows the area under the risk-coverage curve is resampled exactly, above it by its linear part."""


@dataclass(frozen=True)
class ConfidenceFigures:
    """How well confidence tells right from wrong.

    Attributes:
        ece: expected calibration error in 0..1, the mean over rows of |accuracy - confidence| of their bin; it and its
            interval are biased upwards in small samples.
        reliability: one row for each bin that is not empty: ``low, high, n``, mean ``confidence``, ``accuracy``.
        aurc: area under the risk-coverage curve, lower is better. Rows of equal confidence are kept or dropped
            together, so their order does not matter.
        risk_coverage: ``threshold``, ``coverage``, ``risk`` (error rate among the rows kept), thinned to about
            ``CURVE_POINTS``.
    """

    ece: Figure
    reliability: list[dict[str, Any]]
    aurc: Figure
    risk_coverage: list[dict[str, float]]


def confidence_figures(
    confidences: Sequence[float | None],
    correct: Sequence[bool],
    *,
    bins: int = BINS,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> ConfidenceFigures:
    """Calibration and risk-coverage of verdicts.

    Args:
        confidences: probability the judge gives its own verdict, in 0..1; ``None`` for a row without one, which is left
            out and counted as unscored.
        correct: whether the verdict is right.
        bins: number of bins of equal width; a confidence on a border belongs to the bin below it.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed.

    Raises:
        UserError: a confidence that is NaN or outside 0..1.
    """
    rows = [row for row, confidence in enumerate(confidences) if confidence is not None]
    missing = len(confidences) - len(rows)
    for row in rows:
        confidence = confidences[row]
        if not (confidence is not None and 0 <= confidence <= 1 + 1e-6):
            raise UserError(f"prediction {row + 1}: confidence {confidence} is not a probability between 0 and 1")
    if not rows:
        nothing = Figure.undefined("no row has a probability", 0, missing)
        return ConfidenceFigures(nothing, [], nothing, [])
    values = np.minimum(np.array([confidences[row] for row in rows], dtype=np.float64), 1.0)
    right = np.array([correct[row] for row in rows], dtype=np.float64)
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    gaps = np.zeros((len(rows), bins))
    gaps[np.arange(len(rows)), bin_of] = right - values
    ranking = _Ranking.of(values, 1 - right)
    ece = float(np.abs(gaps.sum(axis=0)).sum() / len(rows))
    aurc = float(ranking.area(np.ones((1, len(rows))))[0])
    intervals: list[tuple[float, float] | None] = [None, None]
    params: dict[str, Any] = {}
    if bootstrap.resamples:
        kept = None if clusters is None else [clusters[row] for row in rows]
        params = bootstrap.params(None if kept is None else len(set(kept)))
        influence = ranking.influence()
        sums = replicate_sums(np.column_stack([gaps, influence, np.ones(len(rows))]), kept, bootstrap)
        draws = aurc + sums[:, bins] - influence.sum()
        if len(rows) <= EXACT_ROWS:
            chunks = replicate_weights(len(rows), clusters=kept, bootstrap=bootstrap)
            draws = np.concatenate([ranking.area(weights[:, ranking.order]) for weights in chunks])
        eces = ratio(np.abs(sums[:, :bins]).sum(axis=1), sums[:, -1])
        intervals = [percentile_interval(column, bootstrap.level) for column in (eces, draws)]
    return ConfidenceFigures(
        ece=Figure(ece, len(rows), missing, intervals[0], params={"bins": bins} | params),
        reliability=[
            {
                "low": float(edges[index]),
                "high": float(edges[index + 1]),
                "n": int((bin_of == index).sum()),
                "confidence": float(values[bin_of == index].mean()),
                "accuracy": float(right[bin_of == index].mean()),
            }
            for index in np.unique(bin_of)
        ],
        aurc=Figure(aurc, len(rows), missing, intervals[1], params=params),
        risk_coverage=ranking.curve(values),
    )


@dataclass(frozen=True)
class _Ranking:
    """Rows from the most to the least confident.

    Attributes:
        order: (rows,) indices that sort the rows.
        wrong: (rows,) 1 for a wrong verdict, sorted.
        last: (levels,) index of the last sorted row of each level of confidence.
        level: (rows,) level of each sorted row.
    """

    order: Ints
    wrong: Floats
    last: Ints
    level: Ints

    @classmethod
    def of(cls, values: Floats, wrong: Floats) -> _Ranking:
        order = np.argsort(-values, kind="stable")
        changes = np.diff(values[order]) != 0
        last = np.append(np.flatnonzero(changes), len(values) - 1)
        return cls(order, wrong[order], last, np.append(0, np.cumsum(changes)))

    def area(self, weights: Floats) -> Floats:
        """(m,) area for (m, rows) weights of the sorted rows."""
        kept = np.cumsum(weights, axis=1)[:, self.last]
        lost = np.cumsum(weights * self.wrong, axis=1)[:, self.last]
        share = np.diff(kept, axis=1, prepend=0.0)
        risk = np.divide(lost, kept, out=np.zeros_like(lost), where=kept > 0)
        area: Floats = (share * risk).sum(axis=1) / kept[:, -1]
        return area

    def influence(self) -> Floats:
        """(rows,) derivative of the area by the weight of one more row like each, in the rows' own order."""
        n = len(self.order)
        kept = self.last + 1.0
        share = np.diff(kept, prepend=0.0)
        risk = np.cumsum(self.wrong)[self.last] / kept
        # A further row changes the risk of its own level and of all less confident ones.
        below = (share / kept)[::-1].cumsum()[::-1]
        below_risk = (share * risk / kept)[::-1].cumsum()[::-1]
        area = float(share @ risk) / n
        level = self.level
        sorted_influence = (risk[level] + self.wrong * below[level] - below_risk[level] - area) / n
        influence = np.empty(n)
        influence[self.order] = sorted_influence
        return influence

    def curve(self, values: Floats) -> list[dict[str, float]]:
        points = min(CURVE_POINTS, len(self.last))
        steps = self.last[np.unique(np.linspace(0, len(self.last) - 1, points).round().astype(int))]
        risk = np.cumsum(self.wrong) / np.arange(1, len(self.wrong) + 1)
        return [
            {
                "threshold": float(values[self.order[step]]),
                "coverage": (int(step) + 1) / len(self.order),
                "risk": float(risk[step]),
            }
            for step in steps
        ]
