"""The plain ``llamafactory-cli`` with our judges: train, two processes, predict, and a user's mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sft_settings import sft_settings

CLI = Path(sys.executable).with_name("llamafactory-cli")


def train(tmp_path: Path, settings: dict, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``llamafactory-cli train`` on a YAML of these settings."""
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(settings))
    path = f"{CLI.parent}{os.pathsep}{os.environ['PATH']}"  # the host starts torchrun by name
    return subprocess.run(
        [CLI, "train", config],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
        cwd=tmp_path,
    )


@pytest.fixture
def settings(tiny_models, pair_data, tmp_path) -> dict:
    changes = {"dataset": "pairs", "learning_rate": 1e-3, "cot_loss_weight": 0.5}
    return sft_settings(tiny_models["qwen2_5_omni"], pair_data, tmp_path / "out", **changes)


def losses(folder: Path) -> list[dict]:
    return [row for row in json.loads((folder / "trainer_state.json").read_text())["log_history"] if "loss" in row]


def test_sft_logs_both_terms_of_the_loss(settings, tmp_path):
    result = train(tmp_path, settings)
    assert result.returncode == 0, result.stderr[-3000:]
    for row in losses(tmp_path / "out"):
        assert row["loss_thinking"] > 0
        assert row["loss_answer"] > 0
        assert row["loss"] < row["loss_thinking"] + row["loss_answer"]
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_two_processes_agree_with_one(settings, tmp_path, tiny_models):
    """A batch of four rows of equal answer length is the same mean over two processes of two rows each."""
    settings |= {"cot_loss_weight": 1.0, "dataset": "clips", "disable_shuffling": True, "max_steps": 2}
    one, two = tmp_path / "one", tmp_path / "two"
    single = train(tmp_path, settings | {"output_dir": str(one)})
    assert single.returncode == 0, single.stderr[-3000:]
    double = train(
        tmp_path,
        settings | {"output_dir": str(two), "per_device_train_batch_size": 2},
        FORCE_TORCHRUN="1",
        NPROC_PER_NODE="2",
    )
    assert double.returncode == 0, double.stderr[-3000:]
    expected = [row["loss"] for row in losses(one)]
    assert [row["loss"] for row in losses(two)] == pytest.approx(expected, abs=1e-4)


def test_predict_writes_one_row_for_each_pair(settings, tmp_path, pair_data):
    settings |= {
        "do_train": False,
        "do_predict": True,
        "predict_with_generate": True,
        "eval_dataset": settings.pop("dataset"),
        "per_device_eval_batch_size": 3,
        "max_new_tokens": 8,
    }
    result = train(tmp_path, settings)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "out" / "generated_predictions.jsonl").open(encoding="utf-8")]
    pairs = [json.loads(line) for line in (pair_data / "pairs.jsonl").open(encoding="utf-8")]
    assert len(rows) == len(pairs)
    labels = {"first": "1", "second": "2", "tie": "Tie"}
    for row, pair in zip(rows, pairs, strict=True):
        assert f"**{pair['aspect']}**" in row["prompt"]
        assert f"<answer>\n{labels[pair['winner']]}\n" in row["label"]


def test_missing_clip_is_one_line_that_names_file_and_row(settings, tmp_path, pair_data):
    for clip in pair_data.glob("*.wav"):
        (tmp_path / clip.name).symlink_to(clip)
    for name in ("pairs.jsonl", "dataset_info.json"):
        (tmp_path / name).write_text((pair_data / name).read_text())
    (tmp_path / "clip2.wav").unlink()
    result = train(tmp_path, settings | {"dataset_dir": str(tmp_path)})
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "pairs.jsonl, row 3" in last
    assert "clip2.wav" in last
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_dataset_that_is_not_declared_is_one_line(settings, tmp_path):
    result = train(tmp_path, settings | {"dataset": "pears"})
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "no dataset 'pears'; it has: " in line
    assert "pairs" in line.partition("it has: ")[2]


@pytest.mark.parametrize("name", ["no/such/folder", "empty"])
def test_model_that_is_not_there_is_one_line(settings, tmp_path, name):
    (tmp_path / "empty").mkdir()
    result = train(tmp_path, settings | {"model_name_or_path": name}, HF_HUB_OFFLINE="1")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert repr(name) in line
    assert "model_name_or_path" in line
    assert not (tmp_path / "out").exists()


def test_prompt_beyond_cutoff_len_is_an_error_not_a_cut(settings, tmp_path):
    result = train(tmp_path, settings | {"cutoff_len": 64})
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode != 0
    assert "cutoff_len allows 64" in last
    assert "clip0.wav" in last
