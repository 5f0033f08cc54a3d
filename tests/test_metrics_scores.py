"""Correlations, errors and their intervals; reading MOS and ratings from texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from earwitness.errors import UserError
from earwitness.metrics import scores
from earwitness.metrics.bleu import bleu
from earwitness.metrics.intervals import Bootstrap, percentile_interval
from earwitness.metrics.ranks import Pairs
from earwitness.metrics.scales import Scale
from earwitness.metrics.score_text import extract_mos, read_values
from earwitness.metrics.scores import mean_of_figures, score_figures, speech_rate_accuracy, system_figures

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden" / "stats"
NONE = Bootstrap(0)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")
def test_golden_correlations_with_ties_and_with_a_constant():
    data = json.loads((GOLDEN / "inputs.json").read_text())
    expected = json.loads((GOLDEN / "expected.json").read_text())["correlation"]
    figures = score_figures(data["x"], data["y"], bootstrap=Bootstrap(500))
    pairs = {"pcc": "pearson", "srcc": "spearman", "ktau": "kendall_tau_b", "mse": "mse"}
    for name, key in pairs.items():
        figure = getattr(figures, name)
        assert figure.value == pytest.approx(expected[key], abs=1e-9)
        assert figure.ci[0] < figure.value < figure.ci[1]
    flat = score_figures(data["x"], data["constant"], bootstrap=NONE)
    assert flat.pcc.to_json()["value"] is None
    assert flat.srcc.reason == flat.ktau.reason == "the predictions are constant"
    assert flat.mse.value is not None


def test_undefined_cases_have_reasons():
    assert score_figures([1.0], [2.0], bootstrap=NONE).pcc.reason == "fewer than two scored rows"
    assert score_figures([3.0, 3.0], [2.0, 2.0], bootstrap=NONE).pcc.reason.count("the") == 2
    empty = score_figures([1.0, 2.0], [None, None])
    assert (empty.mse.value, empty.mse.unscored) == (None, 2)
    with pytest.raises(ValueError):
        score_figures([1.0, 2.0], [1.0, float("inf")])


@pytest.mark.parametrize("levels", [5, None])
def test_rank_intervals_equal_those_of_scipy_on_the_same_draws(levels):
    rng = np.random.default_rng(2)
    x = rng.integers(1, 6, 60).astype(float)
    y = x + rng.normal(size=60) * 2
    y = np.clip(np.round(y), 1, levels) if levels else y
    figures = score_figures(x, y.tolist(), bootstrap=Bootstrap(200))
    draws = np.random.default_rng(0).integers(0, 60, size=(200, 60))
    for name, measure in (("pcc", stats.pearsonr), ("srcc", stats.spearmanr), ("ktau", stats.kendalltau)):
        assert getattr(figures, name).value == pytest.approx(measure(x, y).statistic, abs=1e-12)
        expected = percentile_interval([measure(x[rows], y[rows]).statistic for rows in draws])
        assert getattr(figures, name).ci == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
def test_many_distinct_scores_get_the_same_interval_from_the_linear_part(monkeypatch, clustered):
    rng = np.random.default_rng(3)
    x = rng.integers(1, 6, 900).astype(float)
    y = (x + rng.normal(size=900)).tolist()
    clusters = [row // 3 for row in range(900)] if clustered else None
    exact = score_figures(x, y, clusters=clusters, bootstrap=Bootstrap(1500))
    monkeypatch.setattr(scores, "EXACT_PAIRS", 0)
    linear = score_figures(x, y, clusters=clusters, bootstrap=Bootstrap(1500))
    for name in ("srcc", "ktau"):
        assert getattr(linear, name).value == getattr(exact, name).value
        assert getattr(linear, name).ci == pytest.approx(getattr(exact, name).ci, abs=0.006)
        assert getattr(linear, name).params["resampled"] == "linear part"


def test_influences_are_the_derivatives_of_the_statistics():
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 6, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    pairs = Pairs.of(x, y)
    weights = pairs.counts
    assert pairs.kendall_value() == pytest.approx(pairs.kendall(weights)[0])
    step = 1e-5
    for at in range(len(pairs)):
        moved = weights.copy()
        moved[0, at] += step
        slope = (pairs.spearman(moved)[0] - pairs.spearman(weights)[0]) / step
        assert pairs.spearman_influence()[at] == pytest.approx(slope, abs=1e-3)


def test_unscored_rows_are_left_out_and_counted():
    figures = score_figures([1.0, 2.0, 3.0, 4.0], [1.0, None, 3.0, 5.0], bootstrap=NONE)
    assert (figures.pcc.n, figures.pcc.unscored) == (3, 1)
    assert figures.mse.value == pytest.approx(1 / 3)


def test_systems_are_compared_by_their_means():
    references = [1.0, 3.0, 4.0, 5.0, 2.0, 2.0]
    predictions = [2.0, 2.0, 5.0, None, 3.0, 1.0]
    figures = system_figures(references, predictions, ["a", "a", "b", "b", "c", "c"], bootstrap=NONE)
    assert figures.pcc.n == 3
    assert figures.mse.value == pytest.approx(((2 - 2) ** 2 + (4 - 5) ** 2 + (2 - 2) ** 2) / 3)
    gone = system_figures([1.0, 2.0], [None, 2.0], ["a", "b"], bootstrap=NONE)
    assert (gone.pcc.n, gone.pcc.unscored) == (1, 1)


def test_speech_rate_knows_both_words_for_the_middle():
    figure = speech_rate_accuracy(["suitable", "slow", "fast"], ["Appropriate", None, "brisk"], bootstrap=NONE)
    assert (figure.value, figure.unscored) == (pytest.approx(1 / 3), 2)
    with pytest.raises(ValueError):
        speech_rate_accuracy(["brisk"], ["slow"])


def test_an_average_needs_every_dimension():
    good = score_figures([1.0, 2.0, 3.0], [1.0, 3.0, 2.0], bootstrap=NONE).pcc
    flat = score_figures([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], bootstrap=NONE).pcc
    assert mean_of_figures({"a": good, "b": good}).value == pytest.approx(0.5)
    assert mean_of_figures({"a": good, "b": flat}).reason == "undefined for b"
    assert mean_of_figures({}).value is None


@pytest.mark.parametrize(
    ("text", "mos"),
    [
        ("The speech is noisy (2.0 s). Overall, the MOS is 2.3.", 2.3),
        ("... with a MOS score of approximately 3.2 out of 5.", 3.2),
        ("MOS (1-5): **4.1**/5", 4.1),
        ("a mean opinion score (MOS) of 3.01", 3.01),
        ("overall MOS is 3.5, noise 2.0", 3.5),
        ("mos: 4.0 for the first half. In the end, mos = 2.9", 2.9),
        ("noise 2.3, coloration 3.\n\n3.7", 3.7),
        ("[3.4]", 3.4),
        ("overall quality is between 3 and 4", None),
        ("MOS 3-4", None),
        ("MOS of 7", None),
        ("MOS: 80%", None),
        ("the overall quality is poor. It lasts 3 s.", None),
        ("version 2", None),
        ("", None),
        (None, None),
    ],
)
def test_mos_of_a_description(text, mos):
    assert extract_mos(text) == mos


def test_ratings_of_a_text():
    structured = (
        "<think>\nOverall Quality: 2/5\nDistortion: 3/5 (jitter)\nSpeech Rate: suitable\n</think>\n<answer>ok</answer>"
    )
    assert read_values(structured, set()) == {"overall quality": 2.0, "distortion": 3.0, "speech rate": "appropriate"}
    assert read_values("- **noise**: 3 (audible)\nloudness: 9\ncolour: 2", {"noise", "loudness"}) == {"noise": 3.0}
    assert read_values("noise: 3\nnoise: 4", {"noise"}) == {}
    assert read_values("3.5\nSlightly noisy.", set()) == {"overall quality": 3.5}
    assert read_values("<think>4</think> 2", set()) == {"overall quality": 2.0}
    assert read_values("Score: 0", set(), Scale(0, 10)) == {"overall quality": 0.0}
    assert read_values("<think>4, never closed", set()) == {}
    assert read_values("speech rate: brisk", {"speech rate"}) == {}
    words = Scale(levels=("none", "mild", "strong"))
    assert read_values("noise: Strong\necho: huge", {"noise", "echo"}, words) == {"noise": 3.0}


def test_scales_are_checked():
    assert Scale(levels=("bad", "good")).number(1) is None
    assert Scale(0, 10).number("7.5") == 7.5
    assert [Scale().number(value) for value in (True, float("nan"), 6, None)] == [None] * 4
    for wrong in ({"low": 5, "high": 1}, {"levels": ("one",)}, {"levels": ("a", "A")}):
        with pytest.raises(UserError):
            Scale(**wrong)


def test_bleu_is_that_of_sacrebleu_and_needs_known_tokenizers():
    sacrebleu = pytest.importorskip("sacrebleu")
    references = ["the voice is clear and calm today", "there is a loud hiss in the middle of it"]
    texts = ["the voice is clear and very calm", "there is a loud hiss in the end of it"]
    figure = bleu(references, texts, bootstrap=Bootstrap(100))
    assert figure.value == pytest.approx(sacrebleu.corpus_bleu(texts, [references]).score)
    assert figure.ci[0] <= figure.value <= figure.ci[1]
    assert "tok:13a" in figure.params["signature"]
    assert bleu([], []).value is None
    assert bleu(references, [None, ""], bootstrap=NONE).unscored == 2
    with pytest.raises(UserError, match="allowed: 13a, zh"):
        bleu(references, texts, tokenize="chinese")
