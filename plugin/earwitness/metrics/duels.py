"""Two judges on the same rows: is the one that looks better really better?

References: Q. McNemar, Note on the sampling error of the difference between correlated proportions, 1947 (here in its
exact binomial form); the paired bootstrap of P. Koehn, Statistical significance tests for machine translation
evaluation, 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.means import mean_figure
from earwitness.metrics.order import sign_test


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> dict[str, Any]:
    """McNemar's exact test on two judges' right and wrong rows.

    Args:
        first: whether the first judge is right, one a row.
        second: whether the second judge is right on the same rows.

    Returns:
        ``only_first`` and ``only_second``: rows that only one got right; ``both``, ``neither``; ``p_value``: two-sided
        exact binomial, ``None`` where the judges never differ. Rows must be independent; see ``paired_difference``.
    """
    pairs = list(zip(first, second, strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    return {
        "only_first": only_first,
        "only_second": only_second,
        "both": sum(a and b for a, b in pairs),
        "neither": sum(not a and not b for a, b in pairs),
        "p_value": sign_test(only_first, only_second),
        "test": "McNemar, two-sided exact binomial",
    }


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Mean of first minus second over the same rows, from paired resamples.

    Args:
        first: (rows,) gains of the first judge (accuracy or agreement of each row).
        second: (rows,) gains of the second judge on the same rows.
        clusters: one key a row where rows are not independent.
        bootstrap: resamples, level and seed. An interval that excludes 0 is a difference at that level.
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return mean_figure(difference, clusters=clusters, bootstrap=bootstrap)
