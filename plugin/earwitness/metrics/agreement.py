"""Agreement beyond chance, between two raters and among many, and the ceiling that people set.

References: J. Cohen, A coefficient of agreement for nominal scales, 1960 (kappa), and Weighted kappa, 1968;
K. Krippendorff, Computing Krippendorff's alpha-reliability, 2011.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap, Floats, percentile_interval, ratio, replicate_sums
from earwitness.metrics.means import mean_figure
from earwitness.metrics.verdicts import row_gains

Weights = Literal["linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    labels: Sequence[Any] | None = None,
    weights: Weights | None = None,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Cohen's kappa of two raters, over the rows that both have rated.

    Args:
        first: one label a row; ``None`` where this rater gave none.
        second: likewise for the other rater.
        labels: the menu, in order where ``weights`` are used; by default the sorted labels that occur.
        weights: ``None`` for nominal labels, else disagreement grows with the distance in the menu, or its square.
        clusters: one key a row; rows with equal keys are drawn together.
        bootstrap: resamples, level and seed.

    Returns:
        Kappa, at most 1; undefined where chance agreement is 1 (both raters always give the same single label).

    Raises:
        ValueError: different lengths, or a label outside the menu.
    """
    rated = [row for row, pair in enumerate(zip(first, second, strict=True)) if None not in pair]
    missing = len(first) - len(rated)
    menu = (
        list(labels) if labels is not None else sorted({first[row] for row in rated} | {second[row] for row in rated})
    )
    position = {label: index for index, label in enumerate(menu)}
    try:
        cells = [position[first[row]] * len(menu) + position[second[row]] for row in rated]
    except KeyError as error:
        raise ValueError(f"label {error.args[0]!r} is not in the menu {menu}") from None
    if not rated:
        return Figure.undefined("no row that both have rated", 0, missing)
    distance = np.abs(np.subtract.outer(np.arange(len(menu)), np.arange(len(menu)))).astype(np.float64)
    penalty = {None: distance > 0, "linear": distance, "quadratic": distance**2}[weights].astype(np.float64)
    one_hot = np.eye(len(menu) ** 2)[cells]
    value = _kappa(one_hot.sum(axis=0, keepdims=True), penalty)[0]
    params = {"weights": weights or "none"}
    if not np.isfinite(value):
        reason = "both always give the same single label: chance agreement is 1"
        return Figure.undefined(reason, len(rated), missing).with_params(**params)
    kept = None if clusters is None else [clusters[row] for row in rated]
    ci = None
    if bootstrap.resamples:
        ci = percentile_interval(_kappa(replicate_sums(one_hot, kept, bootstrap), penalty), bootstrap.level)
        params |= bootstrap.params(None if kept is None else len(set(kept)))
    return Figure(float(value), len(rated), missing, ci, params=params)


def _kappa(cells: Floats, penalty: Floats) -> Floats:
    """Kappa of (m, labels ** 2) confusion counts: 1 - observed / expected penalty, NaN where none is expected."""
    size = len(penalty)
    counts = cells.reshape(-1, size, size)
    observed = (counts * penalty).sum(axis=(1, 2))
    expected = np.einsum("ma,mb,ab->m", counts.sum(axis=2), counts.sum(axis=1), penalty)
    return 1 - ratio(observed * counts.sum(axis=(1, 2)), expected)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]], *, level: Level = "nominal", bootstrap: Bootstrap = DEFAULT
) -> Figure:
    """Krippendorff's alpha of any number of raters; units with fewer than two ratings are left out.

    Args:
        ratings: for each unit (row) the ratings it got; ``None`` for a rater who gave none. Raters need no fixed order.
        level: ``nominal`` labels, ``ordinal`` or ``interval`` numbers.
        bootstrap: resamples, level and seed; whole units are drawn.

    Returns:
        Alpha, at most 1, n = units used and ``unscored`` = units left out. Undefined without a pairable unit, or where
        only one value occurs.
    """
    units = [[rating for rating in unit if rating is not None] for unit in ratings]
    pairable = [unit for unit in units if len(unit) > 1]
    missing = len(units) - len(pairable)
    params: dict[str, Any] = {"level_of_measurement": level, "raters": max((len(unit) for unit in pairable), default=0)}
    if not pairable:
        return Figure.undefined("no unit with two ratings", 0, missing).with_params(**params)
    values = sorted({rating for unit in pairable for rating in unit})
    if len(values) == 1:
        reason = f"every rating is {values[0]!r}: no disagreement can be expected"
        return Figure.undefined(reason, len(pairable), missing).with_params(**params)
    columns, statistic = _alpha_columns(pairable, values, level)
    value = statistic(columns.sum(axis=0, keepdims=True))[0]
    ci = None
    if bootstrap.resamples:
        ci = percentile_interval(statistic(replicate_sums(columns, None, bootstrap)), bootstrap.level)
        params |= bootstrap.params()
    return Figure(float(value), len(pairable), missing, ci, params=params)


def _alpha_columns(units: list[list[Any]], values: list[Any], level: Level) -> tuple[Floats, Any]:
    """Per unit the sums that alpha needs, and alpha as a function of (m, k) totals of them."""
    size = np.array([len(unit) for unit in units], dtype=np.float64)
    if level == "interval":
        total = np.array([sum(unit) for unit in units], dtype=np.float64)
        square = np.array([sum(rating * rating for rating in unit) for unit in units], dtype=np.float64)
        within = (size * square - total**2) / (size - 1)

        def interval_alpha(sums: Floats) -> Floats:
            disagreement, n, linear, quadratic = sums.T
            return 1 - ratio(disagreement * (n - 1), n * quadratic - linear**2)

        return np.stack([within, size, total, square], axis=1), interval_alpha
    index = {value: column for column, value in enumerate(values)}
    counts = np.zeros((len(units), len(values)))
    for row, unit in enumerate(units):
        for rating in unit:
            counts[row, index[rating]] += 1
    if level == "nominal":
        within = (counts * (size[:, None] - counts)).sum(axis=1) / (size - 1)

        def nominal_alpha(sums: Floats) -> Floats:
            disagreement, margins = sums[:, 0], sums[:, 1:]
            n = margins.sum(axis=1)
            return 1 - ratio(disagreement * (n - 1), n**2 - (margins**2).sum(axis=1))

        return np.concatenate([within[:, None], counts], axis=1), nominal_alpha
    pairs = (counts[:, :, None] * counts[:, None, :] - np.eye(len(values)) * counts[:, None, :]) / (size - 1)[
        :, None, None
    ]

    def ordinal_alpha(sums: Floats) -> Floats:
        coincidences = sums.reshape(-1, len(values), len(values))
        margins = coincidences.sum(axis=2)
        middle = np.cumsum(margins, axis=1) - margins / 2
        distance = (middle[:, :, None] - middle[:, None, :]) ** 2
        n = margins.sum(axis=1)
        observed = (coincidences * distance).sum(axis=(1, 2))
        expected = np.einsum("ma,mb,mab->m", margins, margins, distance)
        return 1 - ratio(observed * (n - 1), expected)

    return pairs.reshape(len(units), -1), ordinal_alpha


def human_ceiling(
    ratings: Sequence[Sequence[str | None]],
    verdicts: Sequence[str | None] | None = None,
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> dict[str, dict[str, Figure]]:
    """How well one person predicts the others, and how well the judge does on the same footing.

    Each rater in turn is compared with the majority of the *other* raters of that row; a row whose others have no
    unique majority has no reference for that rater. The judge is compared with the same majorities, so that the two can
    be set side by side. Rows are the clusters of the intervals.

    Args:
        ratings: for each row the canonical verdicts of its raters; ``None`` for one who gave none. A row with a single
            rater compares nobody.
        verdicts: the judge's canonical verdicts, one a row; ``None`` where unscored (counts as wrong).
        bootstrap: resamples, level and seed.

    Returns:
        ``human`` and, with verdicts, ``judge``: each ``accuracy`` and ``agreement``, n = comparisons, unscored = for
        people the comparisons without a unique majority, for the judge those without a verdict.
    """
    people: list[str] = []
    majorities: list[str] = []
    rows: list[int] = []
    undecided = 0
    for row, given in enumerate(ratings):
        votes = [rating for rating in given if rating is not None]
        for position, vote in enumerate(votes):
            others = Counter(votes[:position] + votes[position + 1 :]).most_common(2)
            if not others:
                continue
            if len(others) == 2 and others[0][1] == others[1][1]:
                undecided += 1
                continue
            people.append(vote)
            majorities.append(others[0][0])
            rows.append(row)

    def compare(given: Sequence[str | None], unscored: int) -> dict[str, Figure]:
        gains = zip(("accuracy", "agreement"), row_gains(majorities, given), strict=True)
        return {
            name: mean_figure(values, unscored=unscored, clusters=rows, bootstrap=bootstrap, share=True)
            for name, values in gains
        }

    result = {"human": compare(people, undecided)}
    if verdicts is not None:
        judged = [verdicts[row] for row in rows]
        result["judge"] = compare(judged, sum(verdict is None for verdict in judged))
    return result
