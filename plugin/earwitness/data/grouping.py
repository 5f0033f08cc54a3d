"""Which split each row goes to, when rows that share a value (a speaker, a clip) must not be separated.

Rows, values and splits are small integers here; ``splits.py`` gives them their meaning.
"""

from __future__ import annotations

import random
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from earwitness.errors import UserError

DROPPED = -1

_FREE = -2


@dataclass
class Table:
    """What the assignment needs to know of the rows.

    Attributes:
        ratios: for each rule the share of each split, summing to 1.
        rules: for each row the place of its rule in ``ratios``.
        strata: for each row a number; rows of one stratum are spread over the splits by the ratio of their rule.
        values: the values of all rows, one row after the other.
        ends: for each row where its values end.
        keys: for each value the place of its kind (clip, speaker, ...) in the order of assignment.
    """

    ratios: list[tuple[float, ...]] = field(default_factory=list)
    rules: array[int] = field(default_factory=lambda: array("i"))
    strata: array[int] = field(default_factory=lambda: array("i"))
    values: array[int] = field(default_factory=lambda: array("i"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("b"))

    def __len__(self) -> int:
        return len(self.rules)

    def values_of(self, row: int) -> array[int]:
        """The values of one row."""
        return self.values[self.ends[row - 1] if row else 0 : self.ends[row]]

    def add(self, rule: int, stratum: int, values: int) -> None:
        """Add a row that has so many values; the values themselves are added for all rows at once."""
        self.rules.append(rule)
        self.strata.append(stratum)
        self.ends.append((self.ends[-1] if self.ends else 0) + values)


def whole_groups(table: Table, seed: int) -> tuple[array[int], int]:
    """Assign rows so that every value is in one split, without losing a row.

    Rows linked through any chain of shared values form a group. Groups are placed largest first, each where the shares
    of the rows placed so far come nearest to those of their rules, over all rows and over each stratum.

    Returns: the split of each row, and the size of the largest group.

    Raises:
        UserError: a group holds rows whose rules have no split in common.
    """
    groups = _linked(table)
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(groups[group]))
    have: dict[tuple[int, int], float] = defaultdict(float)
    seen: dict[int, float] = defaultdict(float)
    splits = array("b", bytes(len(table)))
    for group in order:
        rows = groups[group]
        rules = {table.rules[row] for row in rows}
        allowed = [split for split in range(len(table.ratios[0])) if all(table.ratios[rule][split] for rule in rules)]
        if not allowed:
            raise UserError(
                f"{len(rows)} rows that share values fall under rules with no split in common "
                f"({'; '.join(':'.join(f'{share:.3g}' for share in table.ratios[rule]) for rule in sorted(rules))}); "
                "give them one rule, share fewer kinds of values, or drop conflicts"
            )
        counts: dict[tuple[int, int], int] = defaultdict(int)
        for row in rows:  # stratum -1 - r holds all rows of rule r: small strata rounded the same way must not add up
            counts[table.strata[row], table.rules[row]] += 1
            counts[-1 - table.rules[row], table.rules[row]] += 1

        def cost(split: int, counts: dict[tuple[int, int], int] = counts) -> float:
            """By how much squared distances from the shares of the rows so far grow."""
            grown = 0.0
            for (stratum, rule), count in counts.items():
                lack = table.ratios[rule][split] * (seen[stratum] + count) - have[stratum, split]
                grown += count * (count - 2 * lack)
            return grown

        best = min(allowed, key=cost)
        for (stratum, _), count in counts.items():
            have[stratum, best] += count
            seen[stratum] += count
        for row in rows:
            splits[row] = best
    return splits, max(map(len, groups), default=0)


def _linked(table: Table) -> list[list[int]]:
    """Groups of rows that are linked by shared values (union by rows, path halving)."""
    parent = array("i", range(len(table)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first = array("i", [-1]) * len(table.keys)  # the first row of each value
    for row in range(len(table)):
        for value in table.values_of(row):
            if first[value] < 0:
                first[value] = row
            one, other = root(first[value]), root(row)
            parent[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(len(table)):
        groups[root(row)].append(row)
    return list(groups.values())


def with_drops(table: Table, kinds: int, seed: int, tolerance: float) -> tuple[array[int], list[int]]:
    """Assign values one by one to splits, and drop the rows whose values went to different ones.

    For corpora in which every system speaks every sentence: there no rows could be separated without loss. Kind by
    kind, largest values first, a value goes where most rows survive relative to what the split lacks.

    Where k kinds are crossed, a split that is to hold a share r of the rows that are left keeps most of them when it
    gets shares in proportion to r ** (1 / k) of the values of each kind; where kinds are nested, r itself is right.
    Each is tried for 1 to ``kinds - 1`` crossed kinds; of those within ``tolerance`` of the shares the one that keeps
    most rows is taken, else the nearest to the shares.

    Returns: the split of each row or ``DROPPED``, and how many rows each kind of value dropped.
    """
    best: tuple[tuple[bool, float], array[int], list[int]] | None = None
    for crossed in range(1, max(2, kinds)):  # the last kind is the clip, which is in few rows
        splits, dropped = _try_drops(table, kinds, seed, 1 / crossed)
        off = _distance(table, splits)
        merit = (off <= tolerance, float(-sum(dropped)) if off <= tolerance else -off)
        if best is None or merit > best[0]:
            best = merit, splits, dropped
    assert best is not None
    return best[1], best[2]


def _distance(table: Table, splits: array[int]) -> float:
    """The greatest distance of a share of the rows that are left from what its rule wants."""
    counts = [[0] * len(ratio) for ratio in table.ratios]
    for row, split in enumerate(splits):
        if split != DROPPED:
            counts[table.rules[row]][split] += 1
    return max(
        (
            abs(count / sum(some) - share)
            for some, ratio in zip(counts, table.ratios, strict=True)
            if sum(some)
            for count, share in zip(some, ratio, strict=True)
        ),
        default=0.0,
    )


def _try_drops(table: Table, kinds: int, seed: int, exponent: float) -> tuple[array[int], list[int]]:
    rng = random.Random(seed)
    splits = array("b", [_FREE]) * len(table)
    rows_of: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(kinds)]
    for row in range(len(table)):
        for value in table.values_of(row):
            rows_of[table.keys[value]][value].append(row)
    occurring = [kind for kind in range(kinds - 1) if rows_of[kind]]
    flatter = [[share**exponent if share else 0.0 for share in ratio] for ratio in table.ratios]
    flatter = [[share / sum(ratio) for share in ratio] for ratio in flatter]
    dropped = []
    for kind in range(kinds):
        before = splits.count(DROPPED)
        ratios = flatter if kind in occurring[:-1] else table.ratios
        kept = [[0.0] * len(ratio) for ratio in ratios]
        order = list(rows_of[kind])
        rng.shuffle(order)
        order.sort(key=lambda value, kind=kind: -len(rows_of[kind][value]))  # type: ignore[misc]
        for value in order:
            _assign_value(table, ratios, rows_of[kind][value], splits, kept)
        rows_of[kind].clear()
        dropped.append(splits.count(DROPPED) - before)
    return splits, dropped


def _assign_value(
    table: Table, ratios: Sequence[Sequence[float]], rows: list[int], splits: array[int], kept: list[list[float]]
) -> None:
    """Send the rows of one value to one split; those that another value has sent elsewhere are dropped."""
    count = len(ratios[0])
    gains: dict[int, list[int]] = defaultdict(lambda: [0] * count)  # by rule: rows that would survive in each split
    for row in rows:
        rule = table.rules[row]
        for split in range(count):
            gains[rule][split] += ratios[rule][split] > 0 and splits[row] in (_FREE, split)

    def worth(split: int) -> tuple[float, int]:
        lack = sum(
            gain[split] * (ratios[rule][split] - kept[rule][split] / max(1.0, sum(kept[rule])))
            for rule, gain in gains.items()
        )
        return lack, sum(gain[split] for gain in gains.values())

    possible = [split for split in range(count) if any(gain[split] for gain in gains.values())]
    best = max(possible, key=worth, default=DROPPED)
    for row in rows:
        rule = table.rules[row]
        if best != DROPPED and ratios[rule][best] and splits[row] in (_FREE, best):
            splits[row] = best
            kept[rule][best] += 1
        else:
            splits[row] = DROPPED
