"""Scores against human ratings: correlations and squared error, at clip and at system level.

References: SpeechLLM-as-Judges (Wang et al. 2025), section 5.2 and tables 5 and 13 (PCC a dimension, accuracy of the
speech rate); M. G. Kendall, The treatment of ties in ranking problems, 1945 (tau-b). Correlations are undefined, never
0, where one side is constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from earwitness.metrics.means import mean_figure
from earwitness.metrics.ranks import EXACT_PAIRS, Pairs
from earwitness.metrics.scales import SPEECH_RATES, speech_rate


@dataclass(frozen=True)
class ScoreFigures:
    """Pearson's, Spearman's and Kendall's (tau-b) correlation and the mean squared error of one dimension."""

    pcc: Figure
    srcc: Figure
    ktau: Figure
    mse: Figure

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {name: figure.to_json() for name, figure in vars(self).items()}


def score_figures(
    references: Sequence[float],
    predictions: Sequence[float | None],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> ScoreFigures:
    """All four figures over the rows that have a prediction.

    Args:
        references: human ratings, one a row.
        predictions: the judge's scores; ``None`` where unscored. A missing number has no error and no rank, so these
            rows are left out of ``n`` and counted in ``unscored``.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed.

    Returns:
        Figures; correlations are undefined for fewer than two rows or where one side is constant.

    Raises:
        ValueError: lengths differ, or a number is not finite.
    """
    rows = [row for row, pair in enumerate(zip(references, predictions, strict=True)) if pair[1] is not None]
    missing = len(references) - len(rows)
    x = np.array([references[row] for row in rows], dtype=np.float64)
    y = np.array([predictions[row] for row in rows], dtype=np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores must be finite numbers")
    kept = None if clusters is None else [clusters[row] for row in rows]
    errors = (x - y) ** 2
    reason = _no_correlation(x, y)
    if reason is not None:
        nothing = Figure.undefined(reason, len(rows), missing)
        mse = mean_figure(errors, unscored=missing, clusters=kept, bootstrap=bootstrap)
        return ScoreFigures(nothing, nothing, nothing, mse)
    pairs = Pairs.of(x, y)
    a, b = x - x.mean(), y - y.mean()
    columns = np.stack([errors, np.ones_like(x), a, b, a * a, b * b, a * b], axis=1)
    values = {
        "pcc": float(_pearson(columns[:, 1:].sum(axis=0, keepdims=True))[0]),
        "srcc": float(pairs.spearman(pairs.counts)[0]),
        "ktau": pairs.kendall_value(),
        "mse": float(errors.mean()),
    }
    figures = {name: Figure(value, len(rows), missing) for name, value in values.items()}
    if bootstrap.resamples:
        described = bootstrap.params(None if kept is None else len(set(kept)))
        for name, (draws, note) in _draws(values, columns, pairs, kept, bootstrap).items():
            ci = percentile_interval(draws, bootstrap.level)
            figures[name] = Figure(values[name], len(rows), missing, ci, params=described | note)
    return ScoreFigures(**figures)


def _draws(
    values: Mapping[str, float],
    columns: Floats,
    pairs: Pairs,
    clusters: Sequence[Any] | None,
    bootstrap: Bootstrap,
) -> dict[str, tuple[Floats, dict[str, Any]]]:
    """Replicates of the four figures, and what to note about how they were drawn."""
    notes: dict[str, Any] = {}
    if len(pairs) > EXACT_PAIRS:
        influences = np.stack([pairs.spearman_influence(), pairs.kendall_influence()], axis=1)[pairs.group]
        sums = replicate_sums(np.concatenate([columns, influences], axis=1), clusters, bootstrap)
        shifts = sums[:, -2:] - influences.sum(axis=0)
        ranks = [values[name] + shifts[:, column] for column, name in enumerate(("srcc", "ktau"))]
        sums, notes = sums[:, :-2], {"resampled": "linear part"}
    else:
        chunks = replicate_weights(len(pairs.group), groups=pairs.group, clusters=clusters, bootstrap=bootstrap)
        both = [(pairs.spearman(weights), pairs.kendall(weights)) for weights in chunks]
        ranks = [np.concatenate(parts) for parts in zip(*both, strict=True)]
        sums = replicate_sums(columns, clusters, bootstrap)
    return {
        "pcc": (_pearson(sums[:, 1:]), {}),
        "srcc": (ranks[0], notes),
        "ktau": (ranks[1], notes),
        "mse": (ratio(sums[:, 0], sums[:, 1]), {}),
    }


def system_figures(
    references: Sequence[float],
    predictions: Sequence[float | None],
    systems: Sequence[str],
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> ScoreFigures:
    """The same figures over the mean scores of systems; ``n`` counts systems, and systems are what is resampled.

    Args:
        references: human ratings, one a clip.
        predictions: the judge's scores; a clip without one is left out of both means of its system.
        systems: the system that made each clip.
        bootstrap: resamples, level and seed.

    Returns:
        Figures whose ``unscored`` counts the systems of which no clip has a score.
    """
    totals: dict[str, list[float]] = {}
    for reference, prediction, system in zip(references, predictions, systems, strict=True):
        total = totals.setdefault(system, [0.0, 0.0, 0.0])
        if prediction is not None:
            total[0] += 1
            total[1] += reference
            total[2] += prediction
    scored = [total for total in totals.values() if total[0]]
    means = [(total[1] / total[0], total[2] / total[0]) for total in scored]
    missing: list[tuple[float, float | None]] = [(0.0, None)] * (len(totals) - len(scored))
    pairs = [*means, *missing]
    return score_figures([pair[0] for pair in pairs], [pair[1] for pair in pairs], bootstrap=bootstrap)


def speech_rate_accuracy(
    references: Sequence[str],
    predictions: Sequence[str | None],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Share of equal speech-rate categories, "suitable" being "appropriate"; a word of no category is unscored.

    Unscored rows count as wrong.

    Raises:
        ValueError: a reference that is no category.
    """
    rates = [
        (speech_rate(one), None if other is None else speech_rate(other))
        for one, other in zip(references, predictions, strict=True)
    ]
    if any(reference is None for reference, _ in rates):
        raise ValueError(f"references must be of {', '.join(SPEECH_RATES)}")
    equal = [reference == prediction for reference, prediction in rates]
    unscored = sum(prediction is None for _, prediction in rates)
    return mean_figure(equal, unscored=unscored, clusters=clusters, bootstrap=bootstrap, share=True)


def mean_of_figures(figures: Mapping[str, Figure]) -> Figure:
    """The plain mean of figures over dimensions, as "AVG PCC" of SpeechEval's table 13; undefined if one of them is."""
    n = min((figure.n for figure in figures.values()), default=0)
    values = [figure.value for figure in figures.values() if figure.value is not None]
    missing = [name for name, figure in figures.items() if figure.value is None]
    if missing or not values:
        reason = f"undefined for {', '.join(missing)}" if missing else "no dimension"
        return Figure.undefined(reason, n)
    return Figure(float(np.mean(values)), n, params={"method": f"mean of {len(values)} dimensions"})


def _no_correlation(x: Floats, y: Floats) -> str | None:
    if len(x) < 2:
        return "fewer than two scored rows"
    constant = [name for name, values in (("references", x), ("predictions", y)) if np.ptp(values) == 0]
    return f"the {' and the '.join(constant)} are constant" if constant else None


def _pearson(sums: Floats) -> Floats:
    """Pearson's r of (m, 6) sums of 1, x, y, xx, yy, xy; NaN where one side does not vary."""
    n, sx, sy, sxx, syy, sxy = sums.T
    varx, vary = n * sxx - sx * sx, n * syy - sy * sy
    # Rounding leaves a tiny variance in resamples of equal rows: below this it is none.
    flat = (varx <= 1e-12 * n * sxx) | (vary <= 1e-12 * n * syy)
    return ratio(n * sxy - sx * sy, np.where(flat, 0.0, np.sqrt(np.maximum(varx, 0) * np.maximum(vary, 0))))
