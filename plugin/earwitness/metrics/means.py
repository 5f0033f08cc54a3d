"""Means and shares as figures with intervals: what most metrics come down to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import (
    DEFAULT,
    Bootstrap,
    group_indices,
    percentile_interval,
    ratio,
    replicate_sums,
    wilson_interval,
)


def mean_figures(
    numerators: ArrayLike,
    denominators: ArrayLike | None = None,
    *,
    unscored: Sequence[int] | None = None,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
    shares: bool = False,
) -> list[Figure]:
    """Ratios of column sums, all from the same resamples.

    Args:
        numerators: (rows, k) what each row contributes; for a mean its value, 0 where the row does not count.
        denominators: (rows, k) 1 where a row counts for that column, 0 where not; ``None`` counts every row.
        unscored: for each column the number of unscored rows to record.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed.
        shares: the columns hold gains between 0 and 1. Where all of them are 0, or all 1, resamples cannot differ: the
            interval is then Wilson's, over clusters where there are any.

    Returns:
        One figure a column. Undefined for a column in which no row counts.
    """
    above = np.asarray(numerators, dtype=np.float64)
    below = np.ones_like(above) if denominators is None else np.asarray(denominators, dtype=np.float64)
    columns = above.shape[1]
    counts = unscored if unscored is not None else [0] * columns
    sums, sizes = above.sum(axis=0), below.sum(axis=0)
    drawn = None
    if bootstrap.resamples and len(above):
        resampled = replicate_sums(np.concatenate([above, below], axis=1), clusters, bootstrap)
        drawn = ratio(resampled[:, :columns], resampled[:, columns:])
    cluster_numbers = None if clusters is None else group_indices(clusters)
    figures = []
    for column in range(columns):
        n = round(float(sizes[column]))
        if n == 0:
            reason = "no rows" if not counts[column] else "no scored rows"
            figures.append(Figure.undefined(reason, 0, counts[column]))
            continue
        counting = below[:, column] > 0
        units = n if cluster_numbers is None else len(np.unique(cluster_numbers[counting]))
        value = float(sums[column] / sizes[column])
        ci, params = None, {}
        if drawn is not None:
            ci = percentile_interval(drawn[:, column], bootstrap.level)
            params = bootstrap.params(None if clusters is None else units)
            if shares and sums[column] in (0, sizes[column]):
                ci = wilson_interval(value * units, units, bootstrap.level)
                params = {"method": "wilson", "level": bootstrap.level}
        figures.append(Figure(value, n, counts[column], ci, params=params))
    return figures


def mean_figure(
    values: ArrayLike,
    *,
    unscored: int = 0,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
    share: bool = False,
) -> Figure:
    """The mean of (rows,) values with its interval, as ``mean_figures`` gives it; undefined without rows."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    return mean_figures(column, unscored=[unscored], clusters=clusters, bootstrap=bootstrap, shares=share)[0]


def share_figure(successes: int, n: int, *, unscored: int = 0, level: float = 0.95) -> Figure:
    """A share of independent rows with Wilson's interval; undefined for n = 0."""
    if n == 0:
        return Figure.undefined("no rows" if not unscored else "no scored rows", 0, unscored)
    params = {"method": "wilson", "level": level}
    return Figure(successes / n, n, unscored, wilson_interval(successes, n, level), params=params)
