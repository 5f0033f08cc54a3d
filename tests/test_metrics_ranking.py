"""Bradley-Terry rankings: recovered strengths, undefined estimates, cycles, thin comparisons."""

from __future__ import annotations

import math
import random

import pytest

from earwitness.errors import UserError
from earwitness.metrics import ranking
from earwitness.metrics.intervals import Bootstrap
from earwitness.metrics.ranking import Match, rank_systems

pytest.importorskip("evalica")
QUICK = Bootstrap(200)
TRUE = {"A": 1.0, "B": 0.4, "C": 0.0, "D": -1.4}


def simulate(n, seed=0):
    rng = random.Random(seed)
    matches = []
    for _ in range(n):
        a, b = rng.sample(sorted(TRUE), 2)
        matches.append(Match(a, b, "first" if rng.random() < 1 / (1 + math.exp(TRUE[b] - TRUE[a])) else "second"))
    return matches


def test_true_strengths_are_recovered_within_their_intervals():
    found = rank_systems(simulate(1500), bootstrap=QUICK)
    assert [standing.system for standing in found.standings] == ["A", "B", "C", "D"]
    mean = sum(TRUE.values()) / len(TRUE)
    for standing in found.standings:
        expected = 1000 + (TRUE[standing.system] - mean) * 400 / math.log(10)
        assert standing.rating.value == pytest.approx(expected, abs=45)
        assert standing.rating.ci[0] - 15 < expected < standing.rating.ci[1] + 15
        assert standing.rating.ci[0] < standing.rating.value < standing.rating.ci[1]
    assert (found.cycles, found.thin, found.notes) == ([], [], [])


def test_two_systems_have_the_odds_of_their_matches():
    matches = [Match("a", "b", "first")] * 20 + [Match("b", "a", "first")] * 5 + [Match("a", "b", "tie")] * 10
    best, worst = rank_systems(matches, bootstrap=Bootstrap(0)).standings
    assert best.rating.value - worst.rating.value == pytest.approx(400 * math.log10(25 / 10), abs=0.1)
    assert best.win_rate.value == pytest.approx(25 / 35)
    assert best.rating.ci is None


def test_a_system_that_never_loses_has_no_rating_and_says_why():
    found = rank_systems([Match("a", "b", "first"), Match("b", "c", "tie"), Match("a", "c", "first")], unscored=2)
    assert all(standing.rating.value is None for standing in found.standings)
    assert "never lose or tie" in found.standings[0].rating.reason
    assert found.standings[0].system == "a"
    assert found.standings[0].win_rate.value == 1.0
    assert found.standings[0].win_rate.ci[1] == 1.0
    assert found.standings[0].rating.unscored == 2


def test_cycles_and_thin_comparisons_are_pointed_out():
    matches = [Match(a, b, "first") for a, b in ("rp", "ps", "sr") for _ in range(12)] + [Match("r", "x", "tie")]
    found = rank_systems(matches, bootstrap=QUICK)
    assert [set(cycle) for cycle in found.cycles] == [{"r", "p", "s"}]
    winner, loser, third = found.cycles[0]
    assert (winner + loser) in ("rp", "ps", "sr")
    assert (third + winner) in ("rp", "ps", "sr")
    assert ("r", "x", 1) in found.thin
    assert ("p", "x", 0) in found.thin
    assert found.thin[0][2] == 0


def test_clusters_widen_the_intervals_and_resamples_are_bounded(monkeypatch):
    matches = simulate(60) * 5
    single = rank_systems(matches, bootstrap=Bootstrap(300)).standings[0].rating
    clustered = rank_systems(matches, clusters=list(range(60)) * 5, bootstrap=Bootstrap(300)).standings[0].rating
    assert clustered.ci[1] - clustered.ci[0] > 1.5 * (single.ci[1] - single.ci[0])
    assert clustered.params["interval"]["clusters"] == 60
    monkeypatch.setattr(ranking, "MOST_RESAMPLES", 20)
    few = rank_systems(simulate(30), bootstrap=Bootstrap(10_000)).standings[0].rating
    assert few.params["interval"]["resamples"] == 20


def test_wrong_matches_and_none_at_all():
    with pytest.raises(UserError, match="comparison 2: system 'a' is compared with itself"):
        rank_systems([Match("a", "b", "tie"), Match("a", "a", "tie")])
    with pytest.raises(UserError, match="comparison 1: verdict 'A'"):
        rank_systems([Match("a", "b", "A")])
    assert rank_systems([], unscored=3).notes == ["3 comparisons without a verdict count for nobody", "no comparisons"]
