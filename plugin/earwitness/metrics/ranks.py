"""Rank correlations under resampling: Spearman's rho with mid-ranks and Kendall's tau-b.

Both depend on the data only through the distinct (x, y) pairs and how often each occurs. Few pairs are resampled
exactly. For many, the statistic of a resample is its linear part, value + sum of (weight - 1) * influence, whose error
is of order 1/n: the infinitesimal jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 22).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earwitness.metrics.intervals import Floats, Ints, ratio, sum_by

EXACT_PAIRS = 400
"""Up to this many distinct pairs the resamples are exact; each costs the square of it."""


@dataclass(frozen=True)
class Pairs:
    """Distinct (x, y) pairs of a sample.

    Attributes:
        group: (rows,) number of each row's pair.
        x_of: (pairs,) rank from 0 of each pair's x among the distinct x.
        y_of: (pairs,) likewise of y.
    """

    group: Ints
    x_of: Ints
    y_of: Ints

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Pairs:
        """Find the distinct pairs of two (rows,) samples."""
        distinct, group = np.unique(np.stack([x, y], axis=1), axis=0, return_inverse=True)
        x_of, y_of = (np.unique(column, return_inverse=True)[1] for column in distinct.T)
        return cls(group.reshape(-1), x_of, y_of)

    def __len__(self) -> int:
        return len(self.x_of)

    @property
    def counts(self) -> Floats:
        """(1, pairs): how often each pair occurs in the sample itself."""
        return np.bincount(self.group)[None].astype(np.float64)

    def spearman(self, weights: Floats) -> Floats:
        """Spearman's rho for (m, pairs) weights; NaN where one side does not vary."""
        x, y = _centred_ranks(weights, self.x_of), _centred_ranks(weights, self.y_of)
        xx, yy, xy = ((weights * a * b).sum(axis=1) for a, b in ((x, x), (y, y), (x, y)))
        return ratio(xy, np.sqrt(xx * yy))

    def kendall(self, weights: Floats) -> Floats:
        """Kendall's tau-b for (m, pairs) weights, from all pairs of pairs; NaN where one side does not vary."""
        agreement = np.sign(np.subtract.outer(self.x_of, self.x_of)) * np.sign(np.subtract.outer(self.y_of, self.y_of))
        concordant = np.einsum("ij,kj->ik", weights, agreement.astype(np.float64))
        surplus = (concordant * weights).sum(axis=1) / 2
        x, y = _untied(weights, self.x_of), _untied(weights, self.y_of)
        return ratio(surplus, np.sqrt(x * y))

    def spearman_influence(self) -> Floats:
        """(pairs,) derivative of rho by the weight of one more row of each pair."""
        weights = self.counts
        x, y = _centred_ranks(weights, self.x_of)[0], _centred_ranks(weights, self.y_of)[0]
        count = weights[0]
        xx, yy, xy = ((count * a * b).sum() for a, b in ((x, x), (y, y), (x, y)))
        by_xy = x * y + _above(count * y, self.x_of) + _above(count * x, self.y_of)
        by_xx = x * x + 2 * _above(count * x, self.x_of)
        by_yy = y * y + 2 * _above(count * y, self.y_of)
        root = np.sqrt(xx * yy)
        influence: Floats = by_xy / root - xy / root / 2 * (by_xx / xx + by_yy / yy)
        return influence

    def kendall_value(self) -> float:
        """Tau-b of the sample itself, in O(pairs log pairs)."""
        x, y = _untied(self.counts, self.x_of)[0], _untied(self.counts, self.y_of)[0]
        return float(self._surplus() @ self.counts[0] / 2 / np.sqrt(x * y))

    def kendall_influence(self) -> Floats:
        """(pairs,) derivative of tau-b by the weight of one more row of each pair."""
        count = self.counts
        rows = count.sum()
        x, y = _untied(count, self.x_of)[0], _untied(count, self.y_of)[0]
        by_x = rows - sum_by(count.T, self.x_of)[self.x_of, 0]
        by_y = rows - sum_by(count.T, self.y_of)[self.y_of, 0]
        surplus = self._surplus()
        value = surplus @ count[0] / 2 / np.sqrt(x * y)
        influence: Floats = surplus / np.sqrt(x * y) - value / 2 * (by_x / x + by_y / y)
        return influence

    def _surplus(self) -> Floats:
        """(pairs,) rows concordant with a pair minus rows discordant with it."""
        x, y, count = self.x_of, self.y_of, self.counts[0]
        concordant = _below(x, y, count) + _below(-x, -y, count)
        return concordant - _below(x, -y, count) - _below(-x, y, count)


def _centred_ranks(weights: Floats, of: Ints) -> Floats:
    """(m, pairs) mid-rank of each pair's value minus the mean rank, for (m, pairs) weights."""
    sums = sum_by(weights.T, of).T
    middle = np.cumsum(sums, axis=1) - sums / 2
    return (middle - sums.sum(axis=1, keepdims=True) / 2)[:, of]


def _untied(weights: Floats, of: Ints) -> Floats:
    """(m,) number of pairs of rows whose values differ."""
    sums = sum_by(weights.T, of).T
    n = sums.sum(axis=1)
    untied: Floats = (n * n - (sums * sums).sum(axis=1)) / 2
    return untied


def _above(values: Floats, of: Ints) -> Floats:
    """(pairs,) sum of the values of all pairs that rank above each pair, and half of those that tie with it."""
    sums = np.bincount(of, weights=values)
    above: Floats = (sums[::-1].cumsum()[::-1] - sums / 2)[of]
    return above


def _below(x: Ints, y: Ints, count: Floats) -> Floats:
    """(pairs,) rows with a smaller x and a smaller y than each pair: a merge sort that counts, 2 ** level at a time."""
    # Among equal x the larger y comes first, so that none of them counts as smaller and before.
    order = np.lexsort((-y, x))
    size = 1 << max(1, (len(order) - 1).bit_length())
    values = np.full(size, np.iinfo(np.int64).max)
    weights = np.zeros(size)
    values[: len(order)], weights[: len(order)] = y[order], count[order]
    found = np.zeros(size)
    half = 1
    while half < size:
        # Right before left: a stable sort then counts only left values that are strictly smaller.
        blocks = np.arange(size).reshape(-1, 2, half)[:, ::-1].reshape(-1, 2 * half)
        is_left = np.tile(np.repeat([False, True], half), (len(blocks), 1))
        rank = np.argsort(values[blocks], axis=1, kind="stable")
        places = np.take_along_axis(blocks, rank, axis=1)
        left = np.take_along_axis(is_left, rank, axis=1)
        smaller = np.cumsum(np.where(left, weights[places], 0.0), axis=1)
        found[places[~left]] += smaller[~left]
        half *= 2
    result = np.empty(len(order))
    result[order] = found[: len(order)]
    return result
