"""Ranking systems from pairwise verdicts: Bradley-Terry strengths with intervals, win rates, and what to distrust.

References: R. A. Bradley and M. E. Terry, Rank analysis of incomplete block designs, 1952; L. R. Ford, Solution of a
ranking problem from binary comparisons, 1957 (when the estimate exists); computed by evalica (D. Ustalov, Reliable,
reproducible, and really fast leaderboards with Evalica, 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import (
    DEFAULT,
    Bootstrap,
    Floats,
    group_indices,
    percentile_interval,
    replicate_weights,
)
from earwitness.metrics.means import mean_figures
from earwitness.metrics.verdicts import VERDICTS

ELO_BASE, ELO_SCALE, ELO_MEAN = 10.0, 400.0, 1000.0
"""Strengths are given on Elo's scale: 400 points are ten times the odds; the mean over systems is 1000."""
TIE_WEIGHT = 0.5
"""A tie is half a win for each side."""
THIN = 10
"""Two systems with fewer comparisons than this are pointed out."""
MOST_LISTED = 20
MOST_RESAMPLES = 2_000
"""Each resample is fitted anew (0.5 ms), so no more than this many are drawn."""


@dataclass(frozen=True)
class Match:
    """One verdict about two systems: "first" is a win of ``system_a``."""

    system_a: str
    system_b: str
    verdict: str


@dataclass(frozen=True)
class Standing:
    """What is known of one system.

    Attributes:
        system: its name.
        rating: Bradley-Terry strength on Elo's scale; undefined where no estimate exists.
        win_rate: share of its comparisons that it won, ties counting half.
        matches: its comparisons.
    """

    system: str
    rating: Figure
    win_rate: Figure
    matches: int


@dataclass(frozen=True)
class Ranking:
    """All systems, best first.

    Attributes:
        standings: by rating, or by win rate where there are no ratings.
        cycles: triples in which each system beats the next one and the last beats the first, most lopsided first.
        thin: pairs of systems with few or no comparisons, and how many they have.
        notes: why there is no rating, and what was left out.
    """

    standings: Sequence[Standing]
    cycles: Sequence[tuple[str, str, str]]
    thin: Sequence[tuple[str, str, int]]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "systems": [
                {
                    "system": one.system,
                    "rating": one.rating.to_json(),
                    "win_rate": one.win_rate.to_json(),
                    "matches": one.matches,
                }
                for one in self.standings
            ],
            "cycles": [list(cycle) for cycle in self.cycles],
            "thin": [{"pair": [a, b], "n": n} for a, b, n in self.thin],
            "notes": list(self.notes),
        }


def rank_systems(
    matches: Sequence[Match],
    *,
    unscored: int = 0,
    clusters: Sequence[Any] | None = None,
    bootstrap: Bootstrap = DEFAULT,
    thin: int = THIN,
) -> Ranking:
    """Rank systems.

    Args:
        matches: scored comparisons.
        unscored: comparisons without a verdict, which cannot be counted for anybody; recorded in every figure.
        clusters: one key a match where matches are not independent (the sentence spoken, say).
        bootstrap: resamples (up to ``MOST_RESAMPLES``), level and seed. Resamples in which no estimate exists give no
            rating; if more than 1 in 20 do, the interval is left out.
        thin: pairs with fewer comparisons than this are listed.

    Returns:
        The ranking. Ratings exist only if every system can be reached from every other along wins and ties; else they
        are undefined and the note names the groups that never lost to the rest.

    Raises:
        UserError: evalica is not installed, a match of a system with itself, or a verdict outside the menu.
    """
    bootstrap = replace(bootstrap, resamples=min(bootstrap.resamples, MOST_RESAMPLES))
    for row, match in enumerate(matches, 1):
        if match.system_a == match.system_b:
            raise UserError(f"comparison {row}: system {match.system_a!r} is compared with itself")
        if match.verdict not in VERDICTS:
            raise UserError(
                f"comparison {row}: verdict {match.verdict!r} is not allowed; allowed: {', '.join(VERDICTS)}"
            )
    systems = sorted({name for match in matches for name in (match.system_a, match.system_b)})
    notes = [f"{unscored} comparisons without a verdict count for nobody"] if unscored else []
    if not matches:
        return Ranking([], [], [], [*notes, "no comparisons"])
    position = {name: at for at, name in enumerate(systems)}
    cells = [(position[match.system_a], position[match.system_b], match.verdict) for match in matches]
    group = group_indices(cells)
    model = _Model(list(dict.fromkeys(cells)), len(systems))
    counts = np.bincount(group).astype(np.float64)
    ratings = model.ratings(counts)
    unreachable = model.unreachable(counts)
    if unreachable:
        named = "; ".join(", ".join(systems[at] for at in part) for part in unreachable[:MOST_LISTED])
        notes.append(f"no ratings: some systems never lose or tie against the others (groups: {named})")
    intervals: list[tuple[float, float] | None] = [None] * len(systems)
    params: dict[str, Any] = {"method": "Bradley-Terry, ties half a win", "scale": "Elo, mean 1000"}
    if bootstrap.resamples and ratings is not None:
        chunks = replicate_weights(len(matches), groups=group, clusters=clusters, bootstrap=bootstrap)
        nothing = np.full(len(systems), np.nan)
        drawn = [model.ratings(row) for weights in chunks for row in weights]
        table = np.array([nothing if row is None else row for row in drawn])
        intervals = [percentile_interval(column, bootstrap.level) for column in table.T]
        params["interval"] = bootstrap.params(None if clusters is None else len(set(clusters)))
    wins = _win_rates(cells, len(systems), unscored, clusters, bootstrap)
    reason = notes[-1] if unreachable else None
    standings = [
        Standing(
            name,
            Figure.undefined(reason or "no estimate", wins[at].n, unscored)
            if ratings is None
            else Figure(float(ratings[at]), wins[at].n, unscored, intervals[at], params=params),
            wins[at],
            wins[at].n,
        )
        for at, name in enumerate(systems)
    ]
    standings.sort(key=lambda one: (-(one.rating.value or -math.inf), -(one.win_rate.value or 0), one.system))
    surplus = model.surplus(counts)
    played = model.played(counts)
    return Ranking(
        standings,
        [tuple(systems[at] for at in cycle) for cycle in _cycles(surplus)],  # type: ignore[misc]
        _thin(systems, played, thin),
        notes,
    )


class _Model:
    """Bradley-Terry over distinct (system, system, verdict) cells, whose counts are all that a resample changes."""

    def __init__(self, cells: Sequence[tuple[int, int, str]], systems: int) -> None:
        self.systems = systems
        try:
            import evalica
        except ImportError:
            raise UserError(
                "ranking needs evalica, which is not installed; fix: pip install 'earwitness[metrics]'"
            ) from None
        self._evalica = evalica
        winner = {"first": evalica.Winner.X, "second": evalica.Winner.Y, "tie": evalica.Winner.Draw}
        self._xs, self._ys = [cell[0] for cell in cells], [cell[1] for cell in cells]
        self._winners = [winner[cell[2]] for cell in cells]
        first = np.array([{"first": 1.0, "second": 0.0, "tie": TIE_WEIGHT}[cell[2]] for cell in cells])
        self._first = first
        self._index = evalica.indexing(list(range(systems)), list(range(systems)))[2]

    def _wins(self, counts: Floats) -> Floats:
        """(systems, systems) wins of the row's system over the column's, ties counting half."""
        wins = np.zeros((self.systems, self.systems))
        np.add.at(wins, (self._xs, self._ys), counts * self._first)
        np.add.at(wins, (self._ys, self._xs), counts * (1 - self._first))
        return wins

    def surplus(self, counts: Floats) -> Floats:
        """(systems, systems) wins minus losses."""
        wins = self._wins(counts)
        return wins - wins.T

    def played(self, counts: Floats) -> Floats:
        """(systems, systems) comparisons."""
        wins = self._wins(counts)
        return wins + wins.T

    def unreachable(self, counts: Floats) -> list[list[int]]:
        """Groups of systems between which wins lead only one way; empty if everybody can be reached from everybody."""
        from scipy.sparse.csgraph import connected_components

        parts, of = connected_components(self._wins(counts) > 0, directed=True, connection="strong")
        return [] if parts == 1 else [np.flatnonzero(of == part).tolist() for part in range(parts)]

    def ratings(self, counts: Floats) -> Floats | None:
        """(systems,) strengths on Elo's scale, or ``None`` where the estimate does not exist."""
        if self.unreachable(counts):
            return None
        result = self._evalica.bradley_terry(
            self._xs,
            self._ys,
            self._winners,
            index=self._index,
            weights=counts.tolist(),
            tie_weight=TIE_WEIGHT,
            tolerance=1e-9,
            limit=10_000,
        )
        strength = np.log(result.scores.reindex(range(self.systems)).to_numpy(dtype=np.float64))
        ratings: Floats = ELO_MEAN + (strength - strength.mean()) * ELO_SCALE / math.log(ELO_BASE)
        return ratings


def _win_rates(
    cells: Sequence[tuple[int, int, str]],
    systems: int,
    unscored: int,
    clusters: Sequence[Any] | None,
    bootstrap: Bootstrap,
) -> list[Figure]:
    wins, played = np.zeros((len(cells), systems)), np.zeros((len(cells), systems))
    for row, (a, b, verdict) in enumerate(cells):
        share = {"first": 1.0, "second": 0.0, "tie": TIE_WEIGHT}[verdict]
        wins[row, a], wins[row, b] = share, 1 - share
        played[row, [a, b]] = 1
    return mean_figures(
        wins, played, unscored=[unscored] * systems, clusters=clusters, bootstrap=bootstrap, shares=True
    )


def _cycles(surplus: Floats) -> list[tuple[int, int, int]]:
    """Triples in which each beats the next, by the weakest of the three margins, largest first."""
    beats = surplus > 0
    found: list[tuple[float, tuple[int, int, int]]] = []
    for a, b, c in combinations(range(len(surplus)), 3):
        for cycle in ((a, b, c), (a, c, b)):
            x, y, z = cycle
            if beats[x, y] and beats[y, z] and beats[z, x]:
                found.append((float(min(surplus[x, y], surplus[y, z], surplus[z, x])), cycle))
    return [cycle for _, cycle in sorted(found, key=lambda item: (-item[0], item[1]))[:MOST_LISTED]]


def _thin(systems: Sequence[str], played: Floats, least: int) -> list[tuple[str, str, int]]:
    pairs = [
        (systems[a], systems[b], round(float(played[a, b])))
        for a, b in combinations(range(len(systems)), 2)
        if played[a, b] < least
    ]
    return sorted(pairs, key=lambda pair: (pair[2], pair[:2]))[:MOST_LISTED]
