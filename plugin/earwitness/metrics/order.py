"""What the order of presentation does to a judge: swap consistency and position bias.

Verdicts come in two readings: *canonical*, mapped back to the record's own order, and *shown*, as the model saw the
pair. A judge that hears gives the same canonical verdict in both orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.means import mean_figure, share_figure
from earwitness.metrics.verdicts import POSITION


def swap_consistency(
    straight: Sequence[str | None],
    swapped: Sequence[str | None],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Figure:
    """Share of pairs that get the same canonical verdict in both orders.

    Args:
        straight: canonical verdicts with the pair shown in its own order, one a pair.
        swapped: canonical verdicts of the same pairs shown the other way round.
        clusters: one key a pair where pairs share clips.
        bootstrap: resamples, level and seed.

    Returns:
        A pair with an unscored verdict in either order counts as inconsistent and as unscored.
    """
    equal = [a is not None and a == b for a, b in zip(straight, swapped, strict=True)]
    unscored = sum(a is None or b is None for a, b in zip(straight, swapped, strict=True))
    return mean_figure(equal, unscored=unscored, clusters=clusters, bootstrap=bootstrap, share=True)


def position_bias(
    shown: Sequence[str | None],
    fair: Sequence[str | None],
    *,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> dict[str, Any]:
    """Whether the judge leans to the clip it hears first.

    Each verdict as shown is compared with the one that a fair judge gives in that place: the judge's own verdict on the
    same pair in the other order, mapped back, or the reference. With +1 for the first clip, 0 for a tie and -1 for the
    second, half the difference is the shift of the row; without bias its sign is a fair coin.

    Args:
        shown: verdicts as shown, one an independent row (one a pair, where both orders were judged); ``None`` if
            unscored.
        fair: verdicts to compare with, in the same reading; ``None`` where there is none. References must be balanced:
            where most say "first", honest errors lean to the second clip.
        clusters: one key a row where pairs share clips; the test assumes independent rows all the same.
        bootstrap: resamples, level and seed.

    Returns:
        ``shift``: mean shift in -1..1, positive towards the clip heard first; ``toward_first``, ``toward_second``: rows
        by sign; ``p_value``: two-sided exact binomial test of the two counts, ``None`` where both are 0.
    """
    compared = [
        (row, (POSITION[a] - POSITION[b]) / 2)
        for row, (a, b) in enumerate(zip(shown, fair, strict=True))
        if a is not None and b is not None
    ]
    shifts = np.array([shift for _, shift in compared], dtype=np.float64)
    kept = None if clusters is None else [clusters[row] for row, _ in compared]
    toward_first, toward_second = int((shifts > 0).sum()), int((shifts < 0).sum())
    return {
        "shift": mean_figure(shifts, unscored=len(shown) - len(compared), clusters=kept, bootstrap=bootstrap),
        "toward_first": toward_first,
        "toward_second": toward_second,
        "p_value": sign_test(toward_first, toward_second),
        "test": "sign test, two-sided exact binomial",
    }


def first_share(shown: Sequence[str | None], *, level: float = 0.95) -> Figure:
    """Share of "first" among the decisive verdicts as shown; without bias 0.5 where both orders were judged."""
    decisive = [verdict for verdict in shown if verdict in ("first", "second")]
    unscored = sum(verdict is None for verdict in shown)
    return share_figure(decisive.count("first"), len(decisive), unscored=unscored, level=level)


def sign_test(one: int, other: int) -> float | None:
    """Exact two-sided p-value of ``one`` against ``other`` equally likely events; ``None`` without events."""
    n = one + other
    if n == 0:
        return None
    # Exact in integers: twice the tail of binomial coefficients over 2 ** n.
    term = tail = 1
    for taken in range(min(one, other)):
        term = term * (n - taken) // (taken + 1)
        tail += term
    return min(1.0, 2 * tail / 2**n)
