"""The main job, whole: what scripts/demo.sh promises, and the judge it trains on recordings it never met."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def metrics() -> dict:
    """Run the demo, or what is left of it, and read what it measured."""
    subprocess.run(["bash", ROOT / "scripts" / "demo.sh"], check=True, cwd=ROOT)
    return json.loads((ROOT / "runs" / "demo" / "metrics.json").read_text())


def test_the_judge_hears(metrics):
    accuracy = metrics["overall"]["accuracy"]
    assert accuracy["unscored"] == 0
    assert accuracy["n"] == 2400
    assert accuracy["value"] >= 0.90
    assert metrics["swap_consistency"]["value"] >= 0.90
    assert metrics["untrained"]["accuracy"]["value"] <= 0.5 < accuracy["ci"][0]


def test_real_recordings_leave_no_row_unscored(metrics, shared, tmp_path):
    clips = sorted((shared / "data").rglob("*.wav"))
    rows = [
        {
            "instruction": "Below are two responses for a given task. The task is defined by the Instruction. Evaluate "
            f"in terms of **{aspect}** and indicate a better response using 1, 2 or Tie.\n### Instruction:\nSay it."
            "\n\n### Response 1:\n<audio>\n\n### Response 2:\n<audio>\n\n",
            "input": "",
            "output": "",
            "audios": [str(first), str(second)],
        }
        for aspect in ("overall quality", "helpfulness")
        for first in clips
        for second in clips
        if first != second
    ]
    questions, answers = tmp_path / "real.json", tmp_path / "real.jsonl"
    questions.write_text(json.dumps(rows))
    infer = ["bash", ROOT / "scripts" / "my_infer" / "infer.sh", ROOT / "runs" / "demo" / "judge", questions, answers]
    subprocess.run(infer, check=True, cwd=ROOT)
    judged = [json.loads(line) for line in answers.open(encoding="utf-8")]
    assert len(judged) == len(rows)
    assert [row["unscored"] for row in judged if row["unscored"]] == []
