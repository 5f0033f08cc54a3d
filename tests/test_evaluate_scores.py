"""evaluate_scores.py as a user runs it: the shapes of ratings that exist, joins, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from earwitness.cli import run
from earwitness.cli.evaluate_scores import main

ROOT = Path(__file__).resolve().parents[1]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def evaluate(tmp_path, predictions, *options):
    out = tmp_path / "metrics.json"
    assert run(main, ["--predictions", str(predictions), "--json", str(out), "--resamples", "100", *options]) == 0
    return json.loads(out.read_text())


def refusal(capsys, arguments):
    assert run(main, arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def label_text(quality, rate="suitable"):
    return (
        f"<think>\nOverall Quality: {quality}/5\nSpeech Rate: {rate}\n</think>\n\n<answer>\nIt is {quality}.\n</answer>"
    )


def test_ms_swift_results_carry_both_sides(tmp_path):
    rows = [
        {"response": label_text(q), "labels": label_text(r), "audios": [f"{n}.wav"]}
        for n, (q, r) in enumerate([(1, 2), (3, 3), (5, 4)])
    ]
    rows.append({"response": "I cannot say.", "labels": label_text(1, "slow"), "audios": ["3.wav"]})
    report = evaluate(tmp_path, write_rows(tmp_path / "p.jsonl", rows), "--bleu")
    quality = report["dimensions"]["overall quality"]
    assert (quality["pcc"]["value"], quality["pcc"]["n"], quality["pcc"]["unscored"]) == (pytest.approx(1.0), 3, 1)
    assert report["speech_rate_accuracy"]["value"] == 0.75
    assert report["average_pcc"]["value"] == pytest.approx(1.0)
    assert report["bleu"]["n"] == 4


def test_our_runs_with_one_score_or_several(tmp_path):
    meta = [{"system": "ab"[i % 2]} for i in range(6)]
    rows = [{"id": f"c{i}", "raw": f"{i}.5", "reference": i, "aspect": "noise", "meta": meta[i]} for i in range(1, 5)]
    report = evaluate(tmp_path, write_rows(tmp_path / "p.jsonl", rows), "--system", "system", "--cluster", "system")
    assert list(report["dimensions"]) == ["noise"]
    assert report["dimensions"]["noise"]["mse"]["value"] == pytest.approx(0.25)
    assert report["systems"]["noise"]["pcc"]["n"] == 2
    rows = [
        {"id": f"c{i}", "raw": f"noise: {i}\necho: {6 - i}", "reference": {"noise": i, "echo": i}} for i in range(1, 6)
    ]
    report = evaluate(tmp_path, write_rows(tmp_path / "p.jsonl", rows))
    signs = {name: round(figures["srcc"]["value"]) for name, figures in report["dimensions"].items()}
    assert signs == {"noise": 1, "echo": -1}


def test_what_our_runs_have_read_already_is_used_and_never_taken_for_a_reference(tmp_path, capsys):
    rows = [
        {
            "id": f"c{i}",
            "raw": "see read",
            "score": 1 + i % 5,
            "scores": {"distortion": 1 + i % 5},
            "read": {"categories": {"speech rate": "slow"}},
            "reference": {"overall quality": 1 + i % 5, "distortion": 5 - i % 5, "speech rate": "suitable"},
        }
        for i in range(10)
    ]
    report = evaluate(tmp_path, write_rows(tmp_path / "p.jsonl", rows))
    assert report["dimensions"]["overall quality"]["mse"]["value"] == 0
    assert report["dimensions"]["distortion"]["pcc"]["value"] == pytest.approx(-1)
    assert report["speech_rate_accuracy"]["value"] == 0
    for row in rows:
        row["reference"] = None
    assert "no row carries a reference" in refusal(capsys, ["--predictions", write_rows(tmp_path / "q.jsonl", rows)])


def test_words_of_a_declared_scale_count_by_their_rank(tmp_path):
    levels = ["none", "mild", "strong"]
    rows = [{"id": f"c{i}", "raw": f"noise: {levels[i % 3]}", "reference": {"noise": levels[i % 3]}} for i in range(6)]
    path = write_rows(tmp_path / "p.jsonl", rows)
    report = evaluate(tmp_path, path, "--levels", ",".join(levels))
    assert report["dimensions"]["noise"]["pcc"]["value"] == pytest.approx(1)
    judge = {"type": "rate_clip", "aspects": ["noise"], "scale": levels}
    entry = {"clips": {"file_name": "clips.jsonl", "formatting": "speech_clip", "judge": judge}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entry))
    labelled = [{"id": f"c{i}", "audio": f"{i}.wav", "scores": {"noise": levels[i % 3]}} for i in range(6)]
    write_rows(tmp_path / "clips.jsonl", labelled)
    said = [{"id": f"c{i}", "predict": f"noise: {levels[(i + 1) % 3]}"} for i in range(6)]
    path = write_rows(tmp_path / "q.jsonl", said)
    report = evaluate(tmp_path, path, "--references", "clips", "--dataset-dir", str(tmp_path))
    assert report["dimensions"]["noise"]["mse"]["value"] == pytest.approx(2)


def test_an_assessment_dataset_by_name_has_all_its_dimensions(tmp_path):
    judge = {"type": "speecheval_assessment", "chain_of_thought": True}
    entry = {"clips": {"file_name": "clips.jsonl", "formatting": "speech_clip", "judge": judge}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entry))
    lines = "Overall Quality: {0}/5\nDistortion: {1}/5 (jitter)\nSpeech Rate: slow"
    rows = [
        {"id": f"c{i}", "audio": f"{i}.wav", "score": i, "thinking": lines.format(i, 6 - i), "answer": "So it is."}
        for i in range(1, 6)
    ]
    write_rows(tmp_path / "clips.jsonl", rows)
    said = [
        {"id": f"c{i}", "raw": f"<think>\n{lines.format(i, i)}\n</think>\n\n<answer>\nYes.\n</answer>"}
        for i in range(1, 6)
    ]
    path = write_rows(tmp_path / "p.jsonl", said)
    report = evaluate(tmp_path, path, "--references", "clips", "--dataset-dir", str(tmp_path))
    assert report["dimensions"]["overall quality"]["pcc"]["value"] == pytest.approx(1)
    assert report["dimensions"]["distortion"]["pcc"]["value"] == pytest.approx(-1)
    assert report["speech_rate_accuracy"]["value"] == 1


def test_alld_texts_against_nisqa_columns_by_id(tmp_path, capsys):
    references = [{"id": f"c{i}", "mos": i, "noi": 6 - i, "db": "x"} for i in range(1, 6)]
    r = write_rows(tmp_path / "r.jsonl", references)
    rows = [{"id": f"c{i}", "text": f"Noise aside, the mos is {i}.\nmos: {i}\nnoi: {6 - i}"} for i in (5, 3, 2, 1)]
    report = evaluate(tmp_path, write_rows(tmp_path / "p.jsonl", rows), "--references", r)
    assert set(report["dimensions"]) == {"mos", "noi"}
    assert report["dimensions"]["noi"]["mse"]["value"] == 0
    assert report["dimensions"]["noi"]["mse"]["unscored"] == 1
    rows.append({"id": "c9", "text": "mos: 1"})
    path = write_rows(tmp_path / "p.jsonl", rows)
    assert "id 'c9' is not in the references" in refusal(capsys, ["--predictions", path, "--references", r])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            {"id": "x", "reference": 7, "raw": "3"},
            "row 2: overall quality 7 is not on the scale; allowed: a number from 1 to 5",
        ),
        ({"id": "x", "reference": {"noise": "loud"}, "raw": "3"}, "row 2: noise 'loud' is not on the scale"),
        ({"id": "c1", "reference": 3, "raw": "3"}, "row 2: id 'c1' is already that of row 1"),
    ],
)
def test_references_that_cannot_be_believed_are_refused(tmp_path, capsys, row, complaint):
    path = write_rows(tmp_path / "p.jsonl", [{"id": "c1", "reference": 3, "raw": "3"}, row])
    assert complaint in refusal(capsys, ["--predictions", path])


def test_wrong_options_are_refused(tmp_path, capsys):
    path = write_rows(tmp_path / "p.jsonl", [{"id": "c1", "raw": "3", "reference": 2, "lang": "en"}])
    assert "--system 'speaker'" in refusal(capsys, ["--predictions", path, "--system", "speaker"])
    assert "less than the second" in refusal(capsys, ["--predictions", path, "--scale", "5", "1"])
    bare = write_rows(tmp_path / "q.jsonl", [{"id": "c1", "raw": "3"}])
    assert "no row carries a reference" in refusal(capsys, ["--predictions", bare])


def test_a_single_row_is_undefined_and_not_an_error(tmp_path):
    path = write_rows(tmp_path / "p #1.jsonl", [{"id": "c1", "raw": "3", "reference": 2}])
    figures = evaluate(tmp_path, path)["dimensions"]["overall quality"]
    assert figures["pcc"]["reason"] == "fewer than two scored rows"
    assert figures["mse"]["value"] == 1


def test_the_script_prints_the_table(tmp_path):
    rows = [{"id": str(i), "raw": str(1 + i % 4), "reference": 1 + i % 5} for i in range(20)]
    script = str(ROOT / "scripts" / "my_infer" / "evaluate_scores.py")
    arguments = [sys.executable, script, "--predictions", write_rows(tmp_path / "p.jsonl", rows)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "overall quality" in done.stdout
