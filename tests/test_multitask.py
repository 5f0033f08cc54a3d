"""The four tasks of synthetic SpeechEval, whole: scripts/multitask.sh, and what one tiny judge learns of each."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "runs" / "speecheval"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figures() -> dict[str, dict]:
    """Run the script, or what is left of it; the reports of the judge by file name."""
    subprocess.run(["bash", ROOT / "scripts" / "multitask.sh"], check=True, cwd=ROOT)
    return {path.stem: json.loads(path.read_text()) for path in RUN.glob("*_*.json")}


def test_every_task_is_learnt(figures: dict[str, dict]) -> None:
    scores = figures["scores_judge_assessment"]
    for name in ("overall quality", "intelligibility", "distortion"):
        assert scores["dimensions"][name]["pcc"]["ci"][0] > 0.5
    comparison = figures["pairwise_judge_comparison"]["overall"]["accuracy"]
    assert comparison["ci"][0] > 0.6  # a third is chance
    for task, name in (("suggestion", "areas"), ("assessment", "distortions")):
        named = figures[f"named_judge_{task}"]["names"][name]
        assert named["exact"]["ci"][0] > named["constant"]["value"]
    assert figures["detection_judge"]["overall"]["eer"]["ci"][1] < 0.1


def test_the_untrained_one_knows_nothing(figures: dict[str, dict]) -> None:
    for name, report in figures.items():
        if "untrained" in name and name.startswith("named"):
            assert all(part["exact"]["value"] == 0 for part in report["names"].values())
    assert figures["pairwise_untrained_comparison"]["overall"]["accuracy"]["value"] == 0
