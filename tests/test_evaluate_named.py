"""evaluate_named.py: what texts name against what the references name, read by the judges' own parsers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earwitness.cli.evaluate_named import main
from earwitness.data.synth_speecheval import texts
from earwitness.data.synth_speecheval.truth import Distortion, Scene, preferences
from earwitness.errors import UserError
from earwitness.metrics.named import overlap

CLEAN = Scene(2.0, None, 0.0, "appropriate")
NOISY = Scene(2.0, Distortion("background noise", 0.9, 0.5, 1.5), 0.0, "appropriate")
BROKEN = Scene(2.0, Distortion("jitter", 0.9, 0.0, 2.0), 0.0, "fast")
SCENES = (CLEAN, NOISY, BROKEN, NOISY)


def said(thinking: str, answer: str) -> str:
    return f"<think>\n{thinking}\n</think>\n\n<answer>\n{answer}\n</answer>"


@pytest.fixture
def evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run the command on predictions about a dataset of the task; its report."""

    def run(task: str, truths: list[tuple[str, str]], raws: list[str | None]) -> dict[str, Any]:
        clips = {"audio_a": "a.wav", "audio_b": "b.wav"} if task == "comparison" else {"audio": "a.wav"}
        rows = [
            {"id": f"r{at}", **clips, "thinking": thinking, "answer": answer}
            for at, (thinking, answer) in enumerate(truths)
        ]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        entry = {
            "file_name": "rows.jsonl",
            "formatting": "speech_pair" if task == "comparison" else "speech_clip",
            "judge": {"type": f"speecheval_{task}", "chain_of_thought": True},
        }
        (tmp_path / "dataset_info.json").write_text(json.dumps({"it": entry}))
        lines = [{"id": f"r{at}", "order": "ab", "raw": raw} for at, raw in enumerate(raws)]
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        options = ["--predictions", str(tmp_path / "answers.jsonl"), "--references", "it"]
        options += ["--dataset-dir", str(tmp_path), "--resamples", "200", "--json", str(tmp_path / "out.json")]
        assert main(options) == 0
        assert "constant" in capsys.readouterr().out
        return json.loads((tmp_path / "out.json").read_text())

    return run


def test_areas(evaluate) -> None:
    truths = [texts.suggestion(scene) for scene in SCENES]
    raws = [said(*truths[0]), said(*truths[2]), said(*truths[2]), "no tags at all"]
    areas = evaluate("suggestion", truths, raws)["names"]["areas"]
    assert areas["exact"] | {"ci": None, "params": None} == {
        "value": 0.5, "n": 4, "unscored": 1, "ci": None, "params": None,
    }  # fmt: skip
    # named by references: 0 + 1 + 2 + 1, by answers: 0 + 2 + 2 + 0, by both: 2
    assert areas["f1"]["value"] == pytest.approx(2 * 2 / (4 + 4))
    assert areas["constant"]["value"] == 0.5
    low, high = areas["exact"]["ci"]
    assert low < 0.5 < high


def test_distortions_and_their_intervals(evaluate) -> None:
    truths = [texts.assessment(scene) for scene in SCENES]
    halved = truths[1][1].replace("0.5-1.5 s", "1-1.5 s")
    raws = [said(*truths[0]), said(truths[1][0], halved), said(*truths[2]), None]
    report = evaluate("assessment", truths, raws)
    assert report["names"]["distortions"]["exact"]["value"] == 0.75
    assert report["intervals"]["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert (report["intervals"]["n"], report["intervals"]["unscored"]) == (3, 1)
    assert report["unscored_reasons"] == {"no text": 1}


def test_preferences_by_dimension(evaluate) -> None:
    pairs = [(CLEAN, NOISY), (NOISY, CLEAN), (CLEAN, CLEAN)]
    truths = [texts.comparison(*pair, preferences(*pair)) for pair in pairs]
    report = evaluate("comparison", truths, [said(*truths[0]), said(*truths[0]), said(*truths[2])])
    for dimension in ("overall quality", "intelligibility", "distortion"):
        figures = report["names"][f"preference: {dimension}"]
        assert figures["exact"]["value"] == pytest.approx(2 / 3)
        assert figures["constant"]["value"] == pytest.approx(1 / 3)
    assert report["names"]["distortions"]["exact"]["value"] == pytest.approx(
        2 / 3
    )  # the other sample is said to have it


def test_overlap() -> None:
    assert overlap([(0, 1)], [(0, 1)]) == 1
    assert overlap([(0, 1)], [(1, 2)]) == 0
    assert overlap([(0, 2), (3, 4)], [(1, 3.5)]) == pytest.approx(1.5 / 4)
    assert overlap([], []) == 0


def test_what_does_not_belong_together_is_named(evaluate, tmp_path: Path) -> None:
    truths = [texts.suggestion(scene) for scene in SCENES]
    with pytest.raises(UserError, match=r"row 5: id 'r4' is not in the references"):
        evaluate("suggestion", truths, ["x"] * 5)
    with pytest.raises(UserError, match="the references name no area"):
        evaluate("suggestion", truths[:1], [None])
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "r0", "audio": "a.wav", "answer": ""}) + "\n")
    options = ["--predictions", str(tmp_path / "answers.jsonl"), "--references", "it", "--dataset-dir", str(tmp_path)]
    with pytest.raises(UserError, match="row 1: has no reference text"):
        main(options)
