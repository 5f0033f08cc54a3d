"""Confidence intervals: the percentile bootstrap, by rows or by clusters of rows, and Wilson's.

Reference: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval);
E. B. Wilson, Probable inference, JASA 22, 1927.

A statistic is written once, for a matrix of weights: how often each row was drawn in each resample. Most are functions
of weighted column sums (a mean, a correlation, kappa), which need no resampled copy of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MULTINOMIAL_ABOVE = 2_000
"""From this many units on, identical units are drawn together: the same distribution at a fraction of the cost."""
MULTINOMIAL_GAIN = 20
"""A binomial draw costs about as much as this many index draws (measured)."""
CHUNK_CELLS = 1 << 18
"""Cells of a weight matrix held at once: 2 MB, which stays in a processor's cache (twice as fast as 32 MB)."""
SPARSE_GAIN = 4
"""A value of a sparse table costs about as much as this many of a full one (measured)."""
UNDEFINED_SHARE = 0.05
"""An interval is given only if at most this share of the resamples leaves the statistic undefined."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        resamples: number of resamples; 0 gives no intervals at all.
        level: coverage of the interval, between 0 and 1.
        seed: seed of ``numpy.random.default_rng``; equal inputs and seeds give equal intervals.
    """

    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise UserError(f"resamples must be 0 (no intervals) or more, not {self.resamples}")
        if not 0 < self.level < 1:
            raise UserError(f"the level of an interval must lie between 0 and 1, not {self.level}")

    def params(self, clusters: int | None = None) -> dict[str, Any]:
        """What a ``Figure`` records about its interval."""
        described = {"method": "percentile bootstrap", "resamples": self.resamples, "seed": self.seed}
        return {**described, "level": self.level, **({} if clusters is None else {"clusters": clusters})}


DEFAULT = Bootstrap()


def group_indices(keys: Sequence[Any]) -> Ints:
    """Number the distinct keys in the order in which they appear: ``["b", "a", "b"]`` gives ``[0, 1, 0]``."""
    numbers: dict[Any, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64, count=len(keys))


def replicate_sums(columns: ArrayLike, clusters: Sequence[Any] | None = None, bootstrap: Bootstrap = DEFAULT) -> Floats:
    """Column sums of bootstrap resamples.

    Args:
        columns: (rows, k) values to sum; a single (rows,) column counts as k = 1.
        clusters: one key a row; rows with equal keys are drawn together. ``None`` draws single rows.
        bootstrap: number of resamples and seed.

    Returns:
        (resamples, k) sums. Without clusters, up to ``MULTINOMIAL_ABOVE`` rows, resample r is exactly the r-th row of
        ``default_rng(seed).integers(0, rows, size=(resamples, rows))``.
    """
    matrix = np.asarray(columns, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if clusters is not None:
        matrix = sum_by(matrix, group_indices(clusters))
    units, groups = len(matrix), None
    if units > MULTINOMIAL_ABOVE:
        distinct, inverse = np.unique(matrix, axis=0, return_inverse=True)
        if len(distinct) * MULTINOMIAL_GAIN < units:
            matrix, groups = distinct, inverse.reshape(-1)
    sums = np.empty((bootstrap.resamples, matrix.shape[1]))
    fixed = (matrix == matrix[:1]).all(axis=0)  # every resample draws as many units: nothing to add up
    sums[:, fixed] = units * matrix[0, fixed]
    if fixed.all():
        return sums
    totals, done = _totals(matrix[:, ~fixed]), 0
    for weights in _draw(units, groups, bootstrap, len(matrix)):
        sums[done : done + len(weights), ~fixed] = totals(weights)
        done += len(weights)
    return sums


def _totals(matrix: Floats) -> Callable[[Floats], Floats]:
    """A function from (m, units) weights to the (m, k) weighted sums of (units, k) columns."""
    if len(matrix) > MULTINOMIAL_ABOVE and np.count_nonzero(matrix) * SPARSE_GAIN < matrix.size:
        from scipy.sparse import csr_array

        sparse = csr_array(matrix.T)
        return lambda weights: np.stack([sparse @ row for row in weights])
    columns = np.ascontiguousarray(matrix.T)
    # Not "@": on a busy machine the threads of a BLAS wait for each other (measured: 100 s instead of 2).
    return lambda weights: np.einsum("ij,kj->ik", weights, columns)


def replicate_weights(
    rows: int,
    *,
    groups: Ints | None = None,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Iterator[Floats]:
    """How often each row was drawn, for statistics of order.

    Args:
        rows: how many rows there are.
        groups: (rows,) numbers from 0 of rows that are alike to the statistic; weights are then those of the groups.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: number of resamples and seed.

    Yields:
        Chunks (resamples in the chunk, rows or groups) of weights.
    """
    if clusters is None:
        yield from _draw(rows, groups, bootstrap, rows)
        return
    membership = group_indices(clusters)
    for weights in _draw(int(membership.max()) + 1, None, bootstrap, rows):
        of_rows = weights[:, membership]
        yield of_rows if groups is None else sum_by(of_rows.T, groups).T


def _draw(units: int, groups: Ints | None, bootstrap: Bootstrap, width: int) -> Iterator[Floats]:
    """Chunks of weights over units, or over groups of like units; ``width`` cells a resample are budgeted."""
    rng = np.random.default_rng(bootstrap.seed)
    kinds = units if groups is None else int(groups.max()) + 1
    together = units > MULTINOMIAL_ABOVE and kinds * MULTINOMIAL_GAIN < units
    step = max(1, CHUNK_CELLS // max(width, kinds))
    for start in range(0, bootstrap.resamples, step):
        size = min(step, bootstrap.resamples - start)
        if together and groups is not None:
            yield rng.multinomial(units, np.bincount(groups) / units, size=size).astype(np.float64)
            continue
        weights = np.empty((size, kinds))
        for row in weights:
            drawn = rng.integers(0, units, size=units)
            row[:] = np.bincount(drawn if groups is None else groups[drawn], minlength=kinds)
        yield weights


def sum_by(matrix: Floats, membership: Ints) -> Floats:
    """Sum the rows of (rows, k) by group number: (groups, k)."""
    groups = int(membership.max()) + 1 if len(membership) else 0
    columns = [np.bincount(membership, weights=column, minlength=groups) for column in matrix.T]
    return np.stack(columns, axis=1) if columns else np.zeros((groups, 0))


def percentile_interval(replicates: ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """The percentile interval of the replicates of one statistic.

    ``None`` without replicates, or where more than ``UNDEFINED_SHARE`` of them are NaN (a resample of constant rows has
    no correlation): an interval over the rest would describe another statistic.
    """
    values = np.asarray(replicates, dtype=np.float64)
    defined = values[np.isfinite(values)]
    if not len(values) or len(defined) < (1 - UNDEFINED_SHARE) * len(values):
        return None
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, defined for 0 and n successes too, where a bootstrap has no width."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = successes / n, z * z / n
    center = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def ratio(numerators: Floats, denominators: Floats) -> Floats:
    """Quotients, NaN where the denominator is 0, without a warning."""
    safe = np.where(denominators == 0, np.nan, denominators)
    return numerators / safe
