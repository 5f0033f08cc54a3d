"""The steps of ``scripts/demo.sh``: each runs once, goes on after an interruption, and anew when its origin changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

STEPS = Path(__file__).resolve().parents[1] / "scripts" / "steps.sh"
CHAIN = """
set -euo pipefail
. {steps}
STEPS=steps
step first one.txt cp recipe.txt one.txt
step second two.txt bash -c 'cat one.txt >> two.txt; {interruption}'
step third "" bash -c 'echo ran >> third.log'
"""


@pytest.fixture
def chain(tmp_path):
    (tmp_path / "recipe.txt").write_text("1\n")

    def run(interruption: str = "true") -> list[str]:
        script = CHAIN.format(steps=STEPS, interruption=interruption)
        result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        return [
            line.split(":")[0].removeprefix("== ") for line in result.stdout.splitlines() if "made before" not in line
        ]

    return run


def test_a_whole_step_is_not_run_again(chain, tmp_path):
    assert chain() == ["first", "second", "third"]
    assert chain() == []
    assert (tmp_path / "two.txt").read_text() == "1\n"
    assert (tmp_path / "third.log").read_text() == "ran\n"
    assert (tmp_path / "steps" / "first").read_text().splitlines()[1].isdigit()


def test_an_interrupted_step_finds_what_it_had_written(chain, tmp_path):
    interruption = "[ -e again ] || { touch again; kill -9 $PPID; }"
    assert chain(interruption) == ["first", "second"]
    assert chain(interruption) == ["second", "third"]
    assert (tmp_path / "two.txt").read_text() == "1\n1\n"


def test_a_changed_file_remakes_its_step_and_those_after_it(chain, tmp_path):
    chain()
    (tmp_path / "recipe.txt").write_text("2\n")
    assert chain() == ["first", "second", "third"]
    assert (tmp_path / "two.txt").read_text() == "2\n"


def test_a_change_that_was_interrupted_is_not_forgotten(chain, tmp_path):
    chain()
    (tmp_path / "recipe.txt").write_text("2\n")
    subprocess.run(
        ["bash", "-c", f". {STEPS}; STEPS=steps; step first one.txt cp recipe.txt one.txt"], cwd=tmp_path, check=True
    )
    assert chain() == ["second", "third"]
    assert (tmp_path / "two.txt").read_text() == "2\n"


def test_a_lost_output_is_made_again(chain, tmp_path):
    chain()
    (tmp_path / "two.txt").unlink()
    assert chain() == ["second"]
