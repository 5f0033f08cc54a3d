"""Figures, bootstrap and Wilson intervals against the golden recipe and against what they claim to cover."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure, to_json
from earwitness.metrics.intervals import (
    MULTINOMIAL_ABOVE,
    Bootstrap,
    group_indices,
    percentile_interval,
    replicate_sums,
    replicate_weights,
    wilson_interval,
)
from earwitness.metrics.means import mean_figure, mean_figures, share_figure

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden" / "stats"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")


@needs_golden
def test_bootstrap_reproduces_the_golden_recipe_draw_by_draw():
    outcomes = json.loads((GOLDEN / "inputs.json").read_text())["binary"]
    expected = json.loads((GOLDEN / "expected.json").read_text())["bootstrap"]
    means = replicate_sums(outcomes)[:, 0] / len(outcomes)
    assert means[:5].tolist() == pytest.approx(expected["first_five_means"], abs=1e-12)
    assert means.mean() == pytest.approx(expected["mean_of_means"], abs=1e-6)
    figure = mean_figure(outcomes)
    assert figure.value == pytest.approx(expected["accuracy"], abs=1e-12)
    assert figure.ci == pytest.approx((expected["low"], expected["high"]), abs=1e-12)
    assert wilson_interval(expected["successes"], expected["n"]) == pytest.approx(expected["wilson_95_for_contrast"])


def test_identical_rows_drawn_together_give_the_same_interval_as_single_draws():
    n = 4 * MULTINOMIAL_ABOVE
    outcomes = np.random.default_rng(3).random(n) < 0.7
    together = percentile_interval(replicate_sums(outcomes, bootstrap=Bootstrap(2000))[:, 0] / n)
    rng = np.random.default_rng(9)
    single = [outcomes[rng.integers(0, n, n)].mean() for _ in range(2000)]
    assert together == pytest.approx(percentile_interval(single), abs=0.002)


def test_clusters_are_drawn_whole_and_widen_the_interval():
    values = np.repeat([0.0, 1.0] * 50, 10)
    clusters = np.repeat(np.arange(100), 10).tolist()
    rows = mean_figure(values)
    clustered = mean_figure(values, clusters=clusters)
    assert rows.value == clustered.value == 0.5
    assert rows.ci is not None
    assert clustered.ci is not None
    assert clustered.ci[1] - clustered.ci[0] == pytest.approx((rows.ci[1] - rows.ci[0]) * np.sqrt(10), rel=0.1)
    assert clustered.params["clusters"] == 100
    sums = replicate_sums(np.ones(1000), clusters)
    assert set(sums[:, 0]) == {1000.0}


def test_weights_and_sums_are_the_same_resamples():
    values = np.arange(30.0)
    weights = np.concatenate(list(replicate_weights(30, bootstrap=Bootstrap(50))))
    assert weights.sum(axis=1).tolist() == [30.0] * 50
    assert (weights @ values).tolist() == pytest.approx(replicate_sums(values, bootstrap=Bootstrap(50))[:, 0].tolist())
    clusters = [row // 3 for row in range(30)]
    weights = np.concatenate(list(replicate_weights(30, clusters=clusters, bootstrap=Bootstrap(50))))
    clustered = replicate_sums(values, clusters, Bootstrap(50))[:, 0]
    assert (weights @ values).tolist() == pytest.approx(clustered.tolist())


def test_sparse_and_constant_columns_are_added_up_like_any_other():
    rng, rows = np.random.default_rng(5), MULTINOMIAL_ABOVE + 100
    columns = np.zeros((rows, 12))
    columns[np.arange(rows), rng.integers(0, 10, rows)] = rng.normal(size=rows)
    columns[:, 10], columns[:, 11] = 0.3, rng.normal(size=rows)
    weights = np.concatenate(list(replicate_weights(rows, bootstrap=Bootstrap(30))))
    for part in (columns, columns[:, 9:], columns[:, 10:11]):
        assert replicate_sums(part, bootstrap=Bootstrap(30)) == pytest.approx(weights @ part)


def test_seed_decides_and_is_recorded():
    values = np.random.default_rng(0).random(40)
    one, again, other = (mean_figure(values, bootstrap=Bootstrap(500, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one.ci != other.ci
    assert one.params == {"method": "percentile bootstrap", "resamples": 500, "seed": 1, "level": 0.95}
    assert mean_figure(values, bootstrap=Bootstrap(0)).ci is None


def test_all_right_gets_a_wilson_interval_with_a_width():
    figure = mean_figure([1.0] * 20, share=True)
    assert figure.value == 1.0
    assert figure.ci == pytest.approx(wilson_interval(20, 20))
    assert figure.ci[0] == pytest.approx(0.8389, abs=1e-4)
    clustered = mean_figure([1.0] * 20, clusters=[row // 10 for row in range(20)], share=True)
    assert clustered.ci == pytest.approx(wilson_interval(2, 2))
    assert mean_figure([0.0], share=True).ci == pytest.approx(wilson_interval(0, 1))
    assert mean_figure([0.0] * 5).ci == (0.0, 0.0)


def test_undefined_figures_are_null_with_a_reason():
    assert mean_figure([]).to_json() == {"value": None, "n": 0, "unscored": 0, "ci": None, "reason": "no rows"}
    assert share_figure(0, 0, unscored=3).reason == "no scored rows"
    figures = mean_figures(np.zeros((2, 1)), np.zeros((2, 1)), unscored=[2])
    assert figures[0].reason == "no scored rows"


def test_a_figure_refuses_nan_and_values_without_reason():
    for wrong in ({"value": float("nan")}, {"value": None}, {"value": 1.0, "ci": (0.0, float("inf"))}):
        with pytest.raises(ValueError):
            Figure(n=1, **wrong)
    with pytest.raises(ValueError):
        Figure(1.0, -1)
    nested = to_json({"a": [Figure(0.5, 2)], 3: None})
    assert nested == {"a": [{"value": 0.5, "n": 2, "unscored": 0, "ci": None}], "3": None}


def test_an_interval_needs_nearly_all_resamples_defined():
    assert percentile_interval([1.0, 2.0, np.nan]) is None
    assert percentile_interval([]) is None
    assert percentile_interval([1.0] * 99 + [np.nan]) == (1.0, 1.0)


def test_settings_are_checked():
    with pytest.raises(UserError, match="between 0 and 1"):
        Bootstrap(level=95)
    with pytest.raises(UserError, match="resamples"):
        Bootstrap(-1)
    assert group_indices(["b", "a", "b"]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_intervals_cover_the_truth_about_as_often_as_they_say(share):
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(120):
        figure = mean_figure(rng.random(80) < share, bootstrap=Bootstrap(300))
        hits += figure.ci[0] <= share <= figure.ci[1]
    assert 0.88 <= hits / 120 <= 0.99
