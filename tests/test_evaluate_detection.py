"""evaluate_detection.py and its parts: golden sets, ms-swift rows and their traps, score files, groups."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earwitness.cli import run
from earwitness.cli.evaluate_detection import main
from earwitness.errors import UserError
from earwitness.metrics.detection import (
    SPEECHEVAL_COST,
    CostModel,
    _Steps,
    det_points,
    detection_accuracy,
    detection_figures,
)
from earwitness.metrics.detection_files import read_clips
from earwitness.metrics.intervals import Bootstrap
from earwitness.metrics.label_tokens import label_score

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT.parent / "shared" / "golden" / "deepfake"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="golden figures are not at hand")
SETS = ("main", "main_logit", "edge_perfect", "edge_all_equal", "edge_binary")
NONE = Bootstrap(0)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def evaluate(tmp_path, predictions, *options):
    out = tmp_path / "metrics.json"
    assert run(main, ["--predictions", str(predictions), "--json", str(out), "--resamples", "200", *options]) == 0
    return json.loads(out.read_text())


@needs_golden
@pytest.mark.parametrize("name", SETS)
def test_golden_sets(tmp_path, name):
    expected = json.loads((GOLDEN / "expected.json").read_text())["sets"][name]
    overall = evaluate(tmp_path, GOLDEN / expected["file"])["overall"]
    reference, ties = expected["reference"], expected["tie_aware"]
    pairs = {
        "eer": reference["eer"],
        "min_dcf": reference["min_dcf"],
        "accuracy": reference["accuracy_at_0.5"],
        "eer_discrete": ties["eer_discrete"],
        "eer_linear": ties["eer_linear"],
        "eer_hull": ties["eer_convex_hull"],
        "auc": ties["auc"],
    }
    for key, value in pairs.items():
        got = overall[key]["value"]
        assert got is None if value is None else got == pytest.approx(value, abs=1e-6), key
    assert overall["n_real"] == expected["n_real"]
    # A threshold below every score accepts everything; the reference writes it as the least score minus 0.001.
    for key in ("eer_threshold", "min_dcf_threshold"):
        if overall[key] is not None:
            assert overall[key] == reference[key]


@needs_golden
def test_golden_swift_rows_one_by_one_and_together(tmp_path):
    expected = json.loads((GOLDEN / "swift_clean_expected.json").read_text())
    clips = read_clips(GOLDEN / "swift_clean.jsonl")
    for clip, row in zip(clips, expected["rows"], strict=True):
        assert clip.score == pytest.approx(row["reference_score"], abs=1e-12)
        assert clip.label == row["label"]
        assert clip.verdict == ("real" if row["reference_pred"] else "fake")
    report = evaluate(tmp_path, GOLDEN / "swift_clean.jsonl", "--by", "language")
    for key, value in (("eer", "eer"), ("min_dcf", "min_dcf"), ("accuracy", "accuracy_at_0.5")):
        assert report["overall"][key]["value"] == pytest.approx(expected["metrics"][value], abs=1e-6)
    assert {name: group["accuracy"]["n"] for name, group in report["by"]["language"].items()} == {"en": 10, "zh": 10}


def walk_rows(scores, real):
    """The reference's EER, row by row, as its formulas say."""
    order = sorted(range(len(scores)), key=lambda row: (scores[row], not real[row]))
    n_real, n_fake = sum(real), len(real) - sum(real)
    rejected_real = rejected_fake = 0
    best = (1.0, 0.5)
    for row in order:
        rejected_real, rejected_fake = rejected_real + real[row], rejected_fake + (not real[row])
        frr, far = rejected_real / n_real, 1 - rejected_fake / n_fake
        if abs(frr - far) < best[0] - 1e-12:
            best = (abs(frr - far), (frr + far) / 2)
    return best[1]


def crossing(scores, real):
    """Where the straight line between the two thresholds around FRR = FAR crosses it."""
    n_real, n_fake = sum(real), len(real) - sum(real)
    before = (1.0, 0.0)
    for threshold in sorted(set(scores)):
        rejected = [row for row, score in enumerate(scores) if score <= threshold]
        frr = sum(real[row] for row in rejected) / n_real
        far = 1 - sum(not real[row] for row in rejected) / n_fake
        if frr >= far - 1e-12:
            gap, rest = before[0] - before[1], frr - far
            return before[1] + gap / (gap + rest) * (frr - before[1])
        before = (far, frr)
    raise AssertionError("everything is rejected at the highest score")


def test_resampled_figures_equal_those_of_the_resampled_rows():
    rng = random.Random(7)
    for _ in range(300):
        n = rng.randint(2, 30)
        scores = [rng.choice([0.0, 0.2, 0.5, 0.5, 0.9, rng.random()]) for _ in range(n)]
        real = [True, False] + [rng.random() < 0.4 for _ in range(n - 2)]
        runs = _Steps.of(np.array(scores), np.array(real)).runs()
        drawn = [0, 1] + [rng.randrange(n) for _ in range(n)]
        weights = np.bincount(runs.group[drawn], minlength=len(runs.counts)).astype(float)
        by_rows, linear, min_dcf = runs.resampled(weights, SPEECHEVAL_COST)
        drawn_scores, drawn_real = [scores[row] for row in drawn], [real[row] for row in drawn]
        own = detection_figures(drawn_scores, drawn_real, bootstrap=NONE)
        assert by_rows == pytest.approx(walk_rows(drawn_scores, drawn_real))
        assert by_rows == pytest.approx(own.eer.value)
        assert linear == pytest.approx(crossing(drawn_scores, drawn_real))
        assert linear == pytest.approx(own.eer_linear.value)
        assert min_dcf == pytest.approx(own.min_dcf.value)


def test_inverted_scores_and_two_rows():
    inverted = detection_figures([0.9, 0.8, 0.1, 0.2], [False, False, True, True], bootstrap=NONE)
    assert (inverted.eer.value, inverted.eer_linear.value, inverted.eer_hull.value) == (1.0, 1.0, 0.5)
    assert inverted.min_dcf.value == 1.0
    two = detection_figures([0.9, 0.1], [True, False], bootstrap=Bootstrap(50))
    assert (two.eer.value, two.min_dcf.value, two.auc.value) == (0.0, 0.0, 1.0)
    assert two.eer.ci is None  # half of the resamples hold one class only


def test_one_class_and_no_scores_are_undefined():
    alone = detection_figures([0.1, 0.9], [True, True])
    assert (alone.eer.value, alone.eer.reason) == (None, "no fake clip has a score")
    assert detection_figures([], [], unscored=3).min_dcf.to_json()["unscored"] == 3
    assert det_points([0.5], [True]) == []
    assert detection_accuracy([None, "real"], ["fake", "real"]).value == 0.5
    with pytest.raises(ValueError):
        detection_figures([math.nan, 1.0], [True, False])


def test_intervals_of_rates_cover_them_and_follow_clusters():
    rng = np.random.default_rng(0)
    real = rng.random(300) < 0.5
    scores = rng.normal(size=300) + 2 * real
    plain = detection_figures(scores, real.tolist(), bootstrap=Bootstrap(400))
    tripled = detection_figures(
        np.repeat(scores, 3),
        np.repeat(real, 3).tolist(),
        clusters=np.repeat(np.arange(300), 3).tolist(),
        bootstrap=Bootstrap(400),
    )
    for name in ("eer", "eer_linear", "min_dcf"):
        figure, clustered = getattr(plain, name), getattr(tripled, name)
        assert figure.ci[0] <= figure.value <= figure.ci[1]
        assert clustered.ci == pytest.approx(figure.ci, abs=0.02)
    assert CostModel(0.5, 1, 1).weights == (1, 1)


def test_det_points_run_from_accepting_everything_to_rejecting_everything():
    points = det_points([0.1, 0.4, 0.4, 0.8], [False, True, False, True])
    assert points[0] == {"threshold": None, "far": 1.0, "frr": 0.0}
    assert points[-1] == {"threshold": 0.8, "far": 0.0, "frr": 1.0}
    assert len(points) == 4


def tokens(*entries):
    """Log-probabilities of a response: plain tokens, and (token, {token: logprob}) where alternatives are listed."""
    content = []
    for entry in entries:
        token, top = (entry, {entry: -0.01}) if isinstance(entry, str) else entry
        listed = [{"token": name, "logprob": value} for name, value in top.items()]
        content.append({"token": token, "logprob": top.get(token, -0.5), "top_logprobs": listed})
    return {"content": content}


def two_way(real, fake):
    return 1 / (1 + math.exp(fake - real))


def test_the_answer_decides_and_not_the_reasoning():
    said = tokens(
        "<think>",
        ("real", {"real": -0.1, "fake": -3.0}),
        "?",
        "</think>",
        "<answer>",
        "\n",
        ("fake", {"fake": -0.2, "real": -1.5}),
        "\n",
        "</answer>",
        "<|im_end|>",
    )
    assert label_score(said, "fake").value == pytest.approx(two_way(-1.5, -0.2))
    after = tokens(
        "<answer>", ("real", {"real": -0.3, "fake": -1.2}), "</answer>", " not ", ("fake", {"fake": -0.1, "real": -9})
    )
    assert label_score(after, "real").value == pytest.approx(two_way(-0.3, -1.2))


@pytest.mark.parametrize(
    "spelling",
    [
        ("real", "fake"),
        (" real", " fake"),
        ("Real", "Fake"),
        ("REAL", "FAKE"),
        ("\nreal", "\nfake"),
        ("**real", "**fake"),
    ],
)
def test_log_probabilities_are_compared_in_the_spelling_that_was_written(spelling):
    real, fake = spelling
    said = tokens("<answer>", (real, {real: -0.3, fake: -1.5, "real ": -2.0, "other": -4.0}), "</answer>")
    assert label_score(said, "real").value == pytest.approx(two_way(-0.3, -1.5))


def test_a_label_in_pieces_is_scored_at_its_first_piece():
    said = tokens("<answer>", ("re", {"re": -0.4, "fa": -1.4, "un": -3.0}), "al", "</answer>")
    assert label_score(said, "real").value == pytest.approx(two_way(-0.4, -1.4))


def test_a_label_that_is_not_listed_counts_as_minus_100():
    said = tokens("<answer>", ("real", {"real": -0.3, " fake": -2.0}), "</answer>")
    assert label_score(said, "real").value == 1.0
    infinite = tokens("<answer>", ("fake", {"fake": -0.3, "real": -math.inf}), "</answer>")
    assert label_score(infinite, "fake").value == pytest.approx(0, abs=1e-40)


@pytest.mark.parametrize(
    ("logprobs", "verdict", "reason"),
    [
        (None, "real", "no log-probabilities"),
        ({"content": []}, "real", "no log-probabilities"),
        ({"content": [1]}, "real", "no log-probabilities"),
        (tokens("unknown"), None, "neither real nor fake"),
        (tokens("<answer>", "fake", "</answer>"), "real", "do not answer 'real'"),
        (tokens("real", "</think>", "maybe"), "real", "do not answer 'real'"),
        (tokens("<answer>", ("real", {"real": math.nan}), "</answer>"), "real", "NaN"),
        ({"content": [{"token": "real", "logprob": None, "top_logprobs": None}]}, "real", "NaN or no number"),
    ],
)
def test_rows_without_a_usable_score_say_why(logprobs, verdict, reason):
    score = label_score(logprobs, verdict)
    assert score.value is None
    assert reason in score.reason


def swift_row(said, label="real", logprobs=None, audio="audio/en/a.wav"):
    return {"response": said, "labels": label, "logprobs": logprobs, "audios": [audio]}


def test_no_row_inherits_anything_and_unlabelled_rows_are_never_fake(tmp_path):
    scored = tokens("<answer>", ("real", {"real": -0.1, "fake": -3.0}), "</answer>")
    rows = [
        swift_row("<answer>real</answer>", logprobs=scored, audio="en_x_1.wav"),
        swift_row("<answer>fake</answer>", label="fake", audio="en_x_2.wav"),
        swift_row("<answer>real</answer>", label=None, logprobs=scored, audio="en_x_3.wav"),
        swift_row("<answer>perhaps</answer>", label="fake", logprobs=scored, audio="en_x_4.wav"),
        swift_row("<think>real, surely fake", label="fake", logprobs=scored, audio="en_x_5.wav"),
        swift_row("Real", label="<think>\n</think>\n\n<answer>\nfake\n</answer>", audio="en_x_6.wav"),
        swift_row("fake", label="unknown", audio="en_x_7.wav"),
    ]
    clips = read_clips(write_rows(tmp_path / "rows.jsonl", rows))
    assert [clip.score is not None for clip in clips] == [True, False, True, False, False, False, False]
    assert [clip.verdict for clip in clips] == ["real", "fake", "real", None, None, "real", "fake"]
    assert [clip.label for clip in clips] == ["real", "fake", None, "fake", "fake", "fake", None]
    report = evaluate(tmp_path, tmp_path / "rows.jsonl")
    assert report["unlabelled"] == 2
    assert report["overall"]["accuracy"]["n"] == 5
    assert report["overall"]["accuracy"]["value"] == pytest.approx(2 / 5)
    assert report["overall"]["eer"]["reason"] == "no fake clip has a score"
    assert sum(report["unscored_reasons"].values()) == 4


def test_our_own_runs_and_their_groups(tmp_path):
    rows = [
        {
            "id": f"c{i}",
            "raw": "real",
            "verdict": "real" if i % 3 else "fake",
            "probabilities": {"real": 0.6 + i / 100, "fake": 0.4 - i / 100},
            "reference": "real" if i % 2 else "fake",
            "meta": {"language": "ja" if i < 10 else "fr", "source": "open" if i % 4 else "commercial"},
        }
        for i in range(20)
    ]
    report = evaluate(tmp_path, write_rows(tmp_path / "run.jsonl", rows), "--by", "language,source")
    assert list(report["by"]["language"]) == ["fr", "ja"]
    assert set(report["by"]["language"]["fr"]["sources"]) == {"open", "commercial"}
    assert report["overall"]["accuracy"]["value"] == pytest.approx(
        sum((i % 3 > 0) == (i % 2 > 0) for i in range(20)) / 20
    )
    assert report["by"]["language"]["fr"]["accuracy_real"]["n"] == 5


SIX = "unknown audio/en/x #1.wav 0.9 1 1 bonafide\nspk b.wav 0.2 0 0 spoof\nspk c.wav 0.7 1 -1 spoof\n"


@pytest.mark.parametrize(
    ("text", "labels", "scores", "verdicts"),
    [
        (SIX, ["real", "fake", None], [0.9, 0.2, 0.7], ["real", "fake", "real"]),
        ("\ufeffs a.wav 1 bonafide\n\ns b.wav -2e-1 spoof\n", ["real", "fake"], [1, -0.2], [None, None]),
        ("a.wav 0.5 real\nb.wav 0.1 fake\n", ["real", "fake"], [0.5, 0.1], [None, None]),
        ("0.5 bonafide\n0.1 spoof\n0.3 unknown\n", ["real", "fake", None], [0.5, 0.1, 0.3], [None] * 3),
    ],
)
def test_text_score_files(tmp_path, text, labels, scores, verdicts):
    (tmp_path / "scores file.txt").write_text(text)
    clips = read_clips(tmp_path / "scores file.txt")
    assert [clip.label for clip in clips] == labels
    assert [clip.score for clip in clips] == scores
    assert [clip.verdict for clip in clips] == verdicts


def test_a_name_with_spaces_and_a_single_line_are_read(tmp_path):
    (tmp_path / "one.txt").write_text(SIX.splitlines()[0])
    (clip,) = read_clips(tmp_path / "one.txt")
    assert clip.id == "audio/en/x #1.wav"
    assert clip.groups["language"] == "en"
    report = evaluate(tmp_path, tmp_path / "one.txt")
    assert report["overall"]["accuracy"]["value"] == 1.0
    assert report["overall"]["eer"]["value"] is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a.wav nan bonafide\n", "row 1: score 'nan' is no finite number"),
        ("a.wav 0.1 bonafide\nb.wav high spoof\n", "row 2: score 'high' is no finite number"),
        ("a.wav 0.1 maybe\n", "row 1: label 'maybe' is not allowed"),
        ("s a.wav 0.1 1 1 spoof\n", "row 1: label 1 means real, but key 'spoof' means fake"),
        ("bonafide\n", "row 1: has 1 column(s)"),
        ("a.wav 0.1 spoof\na.wav 0.2 spoof\n", "row 2: clip 'a.wav' stands in row 1 already"),
        ("", "holds no rows"),
        ("a.wav 0.1 unknown\n", "no clip is labelled"),
    ],
)
def test_broken_score_files_are_refused_in_one_line(tmp_path, capsys, text, complaint):
    (tmp_path / "scores.txt").write_text(text)
    assert run(main, ["--predictions", str(tmp_path / "scores.txt")]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_labels_come_from_references_where_predictions_have_none(tmp_path, capsys):
    rows = [swift_row("<answer>fake</answer>", label=None, audio=f"{name}.wav") for name in "abc"]
    predictions = write_rows(tmp_path / "p.jsonl", rows)
    labels = [{"id": f"{name}.wav", "label": "spoof" if name != "b" else "bonafide"} for name in "abcd"]
    report = evaluate(tmp_path, predictions, "--references", write_rows(tmp_path / "r.jsonl", labels))
    assert report["overall"]["accuracy"]["value"] == 0.5
    assert report["unscored_reasons"]["no prediction"] == 1
    del labels[0]
    arguments = ["--predictions", predictions, "--references", write_rows(tmp_path / "r.jsonl", labels)]
    assert run(main, arguments) == 2
    assert "clip 'a.wav' is not in the references" in capsys.readouterr().err


def test_unknown_columns_and_options_are_named(tmp_path, capsys):
    path = write_rows(tmp_path / "p.jsonl", [{"id": "a", "label": "real", "score": 1, "language": "en"}])
    assert run(main, ["--predictions", path, "--by", "lang"]) == 2
    assert "no clip has 'lang'; there are: language" in capsys.readouterr().err
    assert run(main, ["--predictions", path, "--p-spoof", "2"]) == 2
    with pytest.raises(UserError, match="none of the columns"):
        read_clips(write_rows(tmp_path / "x.jsonl", [{"id": "a"}]))


def test_the_script_prints_the_table(tmp_path):
    rows = [{"id": str(i), "label": "real" if i % 2 else "fake", "score": (i % 2) * 0.8 + 0.1} for i in range(8)]
    path = write_rows(tmp_path / "p.jsonl", rows)
    script = str(ROOT / "scripts" / "my_infer" / "evaluate_detection.py")
    done = subprocess.run([sys.executable, script, "--predictions", path], capture_output=True, text=True, check=True)
    assert "EER(%)" in done.stdout
