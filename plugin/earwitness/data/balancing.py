"""Even numbers of A and B being better, and of verdicts, by seeded draws."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence


def rows_to_swap(verdicts: Sequence[str], swappable: Sequence[bool], strata: Sequence[Hashable], seed: int) -> set[int]:
    """Which pairs to swap so that "first" and "second" are equally frequent, give or take one, in each stratum.

    Args:
        verdicts: of each row; ties and others do not count.
        swappable: whether the row may be swapped; where too few may, as many as can be are.
        strata: of each row, such as its aspect.
        seed: of the draw.
    """
    rng = random.Random(seed)
    places: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: {"first": [], "second": []})
    for row, verdict in enumerate(verdicts):
        if verdict in ("first", "second"):
            places[strata[row]][verdict].append(row)
    swaps: set[int] = set()
    for by_verdict in places.values():
        more = max(by_verdict.values(), key=len)
        surplus = abs(len(by_verdict["first"]) - len(by_verdict["second"])) // 2
        possible = [row for row in more if swappable[row]]
        swaps.update(rng.sample(possible, min(surplus, len(possible))))
    return swaps


def rows_to_drop(verdicts: Sequence[str], strata: Sequence[Hashable], seed: int) -> set[int]:
    """Which rows to drop so that in each stratum every verdict that occurs is as frequent as the rarest.

    Args:
        verdicts: of each row; rows without one (an empty text) stay.
        strata: of each row.
        seed: of the draw.
    """
    rng = random.Random(seed)
    places: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, verdict in enumerate(verdicts):
        if verdict:
            places[strata[row]][verdict].append(row)
    drops: set[int] = set()
    for by_verdict in places.values():
        rarest = min(map(len, by_verdict.values()))
        for _, rows in sorted(by_verdict.items()):
            drops.update(rng.sample(rows, len(rows) - rarest))
    return drops
