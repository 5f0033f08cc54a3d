"""Whether a judge knows when it is right: calibration error, the reliability curve, and risk against coverage.

References: M. P. Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015 (expected
calibration error); C. Guo et al., On calibration of modern neural networks, ICML 2017 (15 bins of equal width);
Y. Geifman and R. El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017 (risk-coverage).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import (
    DEFAULT,
    Bootstrap,
    Floats,
    percentile_interval,
    ratio,
    replicate_sums,
    replicate_weights,
)

BINS = 15


def _scored(confidences: Sequence[float | None], correct: Sequence[bool]) -> tuple[Floats, Floats, list[int]]:
    """Confidences and 0/1 correctness of the rows that have a confidence, and their row numbers."""
    rows = [row for row, confidence in enumerate(confidences) if confidence is not None]
    values = np.array([confidences[row] for row in rows], dtype=np.float64)
    for row, value in zip(rows, values, strict=True):
        if not 0 <= value <= 1 + 1e-6:
            raise UserError(f"prediction row {row + 1}: confidence {value} is not a probability between 0 and 1")
    return np.minimum(values, 1.0), np.array([correct[row] for row in rows], dtype=np.float64), rows


def calibration(
    confidences: Sequence[float | None],
    correct: Sequence[bool],
    *,
    bins: int = BINS,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> tuple[Figure, list[dict[str, Any]]]:
    """Expected calibration error and the reliability curve behind it.

    Args:
        confidences: probability the judge gives its own verdict, in 0..1; ``None`` for a row without one.
        correct: whether the verdict is right; a verdict with a probability that is wrong counts as not correct.
        bins: number of bins of equal width; a confidence on a border belongs to the bin below it.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed. The error is biased upwards in small samples, its interval too.

    Returns:
        The error in 0..1, sum over bins of |accuracy - confidence| weighted by rows, and one row for each bin that is
        not empty: ``low``, ``high``, ``n``, mean ``confidence``, ``accuracy``.

    Raises:
        UserError: a confidence that is NaN or outside 0..1.
    """
    values, right, rows = _scored(confidences, correct)
    missing = len(confidences) - len(rows)
    if not rows:
        return Figure.undefined("no row has a probability", 0, missing), []
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    gaps = np.zeros((len(rows), bins))
    gaps[np.arange(len(rows)), bin_of] = right - values
    error = float(np.abs(gaps.sum(axis=0)).sum() / len(rows))
    kept = None if clusters is None else [clusters[row] for row in rows]
    ci, params = None, {"bins": bins}
    if bootstrap.resamples:
        sums = replicate_sums(np.concatenate([gaps, np.ones((len(rows), 1))], axis=1), kept, bootstrap)
        ci = percentile_interval(ratio(np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1]), bootstrap.level)
        params |= bootstrap.params(None if kept is None else len(set(kept)))
    curve = [
        {
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "n": int((bin_of == index).sum()),
            "confidence": float(values[bin_of == index].mean()),
            "accuracy": float(right[bin_of == index].mean()),
        }
        for index in np.unique(bin_of)
    ]
    return Figure(error, len(rows), missing, ci, params=params), curve


def risk_coverage(
    confidences: Sequence[float | None],
    correct: Sequence[bool],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
    points: int = 100,
) -> tuple[Figure, list[dict[str, float]]]:
    """Error rate among the rows kept when the least confident ones are left out.

    Args:
        confidences: as in ``calibration``; rows without one cannot be ranked and are left out.
        correct: whether the verdict is right.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed.
        points: the curve is thinned to about this many points; the area uses all of them.

    Returns:
        The area under the risk-coverage curve (lower is better; rows of equal confidence are kept or dropped together,
        so it does not depend on their order), and the curve: ``threshold``, ``coverage``, ``risk``.
    """
    values, right, rows = _scored(confidences, correct)
    missing = len(confidences) - len(rows)
    if not rows:
        return Figure.undefined("no row has a probability", 0, missing), []
    order = np.argsort(-values, kind="stable")
    values, wrong = values[order], 1 - right[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)

    def area(weights: Floats) -> Floats:
        kept = np.cumsum(weights, axis=1)[:, last]
        lost = np.cumsum(weights * wrong, axis=1)[:, last]
        share = np.diff(kept, axis=1, prepend=0.0)
        risk = np.divide(lost, kept, out=np.zeros_like(lost), where=kept > 0)
        return (share * risk).sum(axis=1) / kept[:, -1]

    kept_clusters = None if clusters is None else [clusters[rows[index]] for index in order]
    ci, params = None, {}
    if bootstrap.resamples:
        replicates = [
            area(weights) for weights in replicate_weights(len(rows), clusters=kept_clusters, bootstrap=bootstrap)
        ]
        ci = percentile_interval(np.concatenate(replicates), bootstrap.level)
        params = bootstrap.params(None if kept_clusters is None else len(set(kept_clusters)))
    value = float(area(np.ones((1, len(rows))))[0])
    steps = last if len(last) <= points else last[np.linspace(0, len(last) - 1, points).round().astype(int)]
    curve = [
        {
            "threshold": float(values[index]),
            "coverage": (int(index) + 1) / len(rows),
            "risk": float(wrong[: index + 1].mean()),
        }
        for index in steps
    ]
    return Figure(value, len(rows), missing, ci, params=params), curve
