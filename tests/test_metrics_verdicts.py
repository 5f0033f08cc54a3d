"""Accuracy, Agreement, agreement beyond chance, order effects, calibration and duels."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import UserError
from earwitness.metrics import calibration
from earwitness.metrics.agreement import cohen_kappa, human_ceiling, krippendorff_alpha
from earwitness.metrics.calibration import confidence_figures
from earwitness.metrics.duels import mcnemar, paired_difference
from earwitness.metrics.intervals import Bootstrap
from earwitness.metrics.order import first_share, position_bias, sign_test, swap_consistency
from earwitness.metrics.verdicts import VERDICTS, chance_figures, confusion, row_gains, verdict_figures

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden" / "stats"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")
QUICK = Bootstrap(300)


def test_gains_follow_the_sagelm_definition():
    table = [("first", "first", 1, 1), ("first", "second", 0, 0), ("first", "tie", 0, 0.5), ("tie", "second", 0, 0.5)]
    table += [("tie", "tie", 1, 1), ("tie", None, 0, 0), ("first", None, 0, 0)]
    references, verdicts, matches, agreements = zip(*table, strict=True)
    got = row_gains(references, verdicts)
    assert got[0].tolist() == list(matches)
    assert got[1].tolist() == list(agreements)


def test_unscored_rows_stay_in_the_headline_and_leave_the_scored_figures():
    figures = verdict_figures(["first", "tie", "second", "first"], ["first", None, "tie", "first"], bootstrap=QUICK)
    assert (figures.accuracy.value, figures.accuracy.n, figures.accuracy.unscored) == (0.5, 4, 1)
    assert figures.agreement.value == 0.625
    assert (figures.accuracy_scored.value, figures.accuracy_scored.n) == (pytest.approx(2 / 3), 3)
    assert figures.agreement_scored.value == pytest.approx(2.5 / 3)
    assert figures.coverage.value == 0.75


def test_nothing_scored_and_nothing_at_all():
    figures = verdict_figures(["first", "tie"], [None, None], bootstrap=QUICK)
    assert figures.accuracy.value == 0
    assert figures.accuracy_scored.value is None
    assert figures.accuracy_scored.reason == "no scored rows"
    assert verdict_figures([], []).accuracy.reason == "no rows"


def test_verdicts_outside_the_menu_are_refused():
    with pytest.raises(ValueError, match="'Tie'"):
        row_gains(["first"], ["Tie"])
    with pytest.raises(ValueError, match="2 references but 1"):
        row_gains(["first", "tie"], ["first"])


def test_chance_is_what_a_blind_judge_reaches():
    references = ["first"] * 5 + ["second"] * 3 + ["tie"] * 2
    chance = chance_figures(references)
    rng = random.Random(0)
    guesses = [verdict_figures(references, rng.choices(VERDICTS, k=10), bootstrap=Bootstrap(0)) for _ in range(4000)]
    assert chance["accuracy"].value == pytest.approx(1 / 3)
    assert chance["agreement"].value == pytest.approx(np.mean([g.agreement.value for g in guesses]), abs=0.01)
    assert chance["majority"].value == 0.5
    assert chance_figures([])["accuracy"].value is None


def test_confusion_counts_every_row_once():
    table = confusion(["first", "first", "tie"], ["second", None, "tie"])
    assert table["first"] == {"first": 0, "second": 1, "tie": 0, "unscored": 1}
    assert table["tie"]["tie"] == 1
    assert sum(sum(row.values()) for row in table.values()) == 3


@needs_golden
def test_kappa_reproduces_the_golden_figures():
    data = json.loads((GOLDEN / "inputs.json").read_text())
    expected = json.loads((GOLDEN / "expected.json").read_text())
    nominal = cohen_kappa(data["rater_a"], data["rater_b"], bootstrap=QUICK)
    assert nominal.value == pytest.approx(expected["cohen_kappa"]["kappa_nominal"], abs=1e-9)
    assert nominal.ci[0] < nominal.value < nominal.ci[1]
    ordinal = expected["cohen_kappa_ordinal"]
    for weights, name in ((None, "unweighted"), ("linear", "linear"), ("quadratic", "quadratic")):
        kappa = cohen_kappa(
            data["ordinal_a"], data["ordinal_b"], labels=ordinal["labels"], weights=weights, bootstrap=Bootstrap(0)
        )
        assert kappa.value == pytest.approx(ordinal[name], abs=1e-9)


def test_kappa_of_constant_raters_is_undefined():
    figure = cohen_kappa(["1"] * 5, ["1"] * 5)
    assert figure.value is None
    assert "chance agreement is 1" in figure.reason
    assert cohen_kappa(["1", None], [None, "2"]).to_json()["unscored"] == 2
    with pytest.raises(ValueError, match="'9'"):
        cohen_kappa(["9"], ["1"], labels=["1", "2"])


# The reliability data of Krippendorff (2011), section C: four observers, twelve units, missing values.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_reproduces_the_published_example(level, alpha):
    figure = krippendorff_alpha(list(zip(*OBSERVERS, strict=True)), level=level, bootstrap=QUICK)
    assert figure.value == pytest.approx(alpha, abs=5e-4)
    assert (figure.n, figure.unscored) == (11, 1)
    assert figure.ci[0] < alpha < figure.ci[1]


def test_alpha_undefined():
    assert krippendorff_alpha([["tie", "tie"], ["tie", "tie"]]).value is None
    assert krippendorff_alpha([["tie", None]]).reason == "no unit with two ratings"


def test_human_ceiling_compares_people_and_judge_with_the_same_majorities():
    ratings = [["first", "first", "second"], ["tie", "tie", "tie"], ["first", "second", None], ["first", None, None]]
    result = human_ceiling(ratings, ["first", "tie", "second", None], bootstrap=QUICK)
    # Row 1: each rater against the other two: undecided twice, then "second" against "first". Row 2: three of three.
    # Row 3: each of the two against the other, both wrong. Row 4 compares nobody.
    assert (result["human"]["accuracy"].n, result["human"]["accuracy"].unscored) == (6, 2)
    assert result["human"]["accuracy"].value == pytest.approx(3 / 6)
    assert result["judge"]["accuracy"].value == pytest.approx((1 + 3 + 1) / 6)
    assert human_ceiling([["first"]])["human"]["accuracy"].value is None


def test_swap_consistency_counts_unscored_pairs_as_inconsistent():
    figure = swap_consistency(["first", "tie", None, "first"], ["first", "second", None, "first"], bootstrap=QUICK)
    assert (figure.value, figure.n, figure.unscored) == (0.5, 4, 1)


def test_position_bias_finds_a_judge_that_prefers_the_first_clip():
    rng = random.Random(1)
    truth = [rng.choice(["first", "second"]) for _ in range(300)]
    mirrored = {"first": "second", "second": "first"}
    leaning = ["first" if rng.random() < 0.3 else verdict for verdict in truth]
    swapped_shown = ["first" if rng.random() < 0.3 else mirrored[verdict] for verdict in truth]
    fair = [mirrored[verdict] for verdict in swapped_shown]
    bias = position_bias(leaning, fair, bootstrap=QUICK)
    assert bias["shift"].value > 0.1
    assert bias["shift"].ci[0] > 0
    assert bias["toward_first"] > bias["toward_second"]
    assert bias["p_value"] < 1e-6
    assert first_share(leaning + swapped_shown).value > 0.6
    unbiased = position_bias(truth, truth, bootstrap=QUICK)
    assert unbiased["p_value"] is None
    assert unbiased["shift"].value == 0


def test_sign_test_is_the_exact_binomial():
    assert sign_test(0, 0) is None
    assert sign_test(5, 5) == 1
    assert sign_test(0, 6) == pytest.approx(2 / 64)


def test_calibration_of_a_known_case():
    confidences = [0.9] * 10 + [0.6] * 10 + [None]
    correct = [True] * 8 + [False] * 2 + [True] * 6 + [False] * 4 + [True]
    figures = confidence_figures(confidences, correct, bins=10, bootstrap=QUICK)
    assert figures.ece.value == pytest.approx((0.1 * 10 + 0.0 * 10) / 20)
    assert (figures.ece.n, figures.ece.unscored) == (20, 1)
    assert [(row["n"], round(row["accuracy"], 2)) for row in figures.reliability] == [(10, 0.6), (10, 0.8)]
    assert confidence_figures([None], [True]).aurc.reason == "no row has a probability"
    for wrong in (1.2, float("nan"), -0.1):
        with pytest.raises(UserError, match="prediction 2"):
            confidence_figures([0.5, wrong], [True, True])


def test_risk_coverage_rewards_confidence_that_knows_and_ignores_the_order_of_ties():
    knows = confidence_figures([0.9, 0.9, 0.8, 0.2], [True, True, True, False], bootstrap=QUICK)
    assert knows.aurc.value == pytest.approx(0.25 / 4)
    assert knows.risk_coverage[0] == {"threshold": 0.9, "coverage": 0.5, "risk": 0.0}
    assert knows.risk_coverage[-1] == {"threshold": 0.2, "coverage": 1.0, "risk": 0.25}
    orders = ([True, True, False, False], [False, True, True, False])
    assert [confidence_figures([0.5] * 4, order, bootstrap=QUICK).aurc.value for order in orders] == [0.5, 0.5]


@pytest.mark.parametrize("clustered", [False, True])
def test_the_linear_part_gives_the_interval_of_the_exact_resamples(monkeypatch, clustered):
    rng = np.random.default_rng(4)
    confidences = np.round(rng.uniform(0.4, 1, 1200), 2).tolist()
    correct = (rng.random(1200) < confidences).tolist()
    clusters = [row // 4 for row in range(1200)] if clustered else None
    exact = confidence_figures(confidences, correct, clusters=clusters, bootstrap=Bootstrap(2000)).aurc
    monkeypatch.setattr(calibration, "EXACT_ROWS", 0)
    linear = confidence_figures(confidences, correct, clusters=clusters, bootstrap=Bootstrap(2000)).aurc
    assert linear.value == exact.value
    assert linear.ci == pytest.approx(exact.ci, abs=0.003)


def test_mcnemar_and_paired_difference_agree_on_who_is_better():
    rng = random.Random(5)
    weak = [rng.random() < 0.6 for _ in range(400)]
    strong = [right or rng.random() < 0.3 for right in weak]
    table = mcnemar(strong, weak)
    assert table["only_second"] == 0
    assert table["only_first"] == sum(strong) - sum(weak)
    assert table["both"] + table["neither"] + table["only_first"] == 400
    assert table["p_value"] == pytest.approx(2 * math.pow(0.5, table["only_first"]))
    difference = paired_difference(strong, weak, bootstrap=QUICK)
    assert difference.value == pytest.approx((sum(strong) - sum(weak)) / 400)
    assert difference.ci[0] > 0
    with pytest.raises(ValueError):
        mcnemar([True], [True, False])
