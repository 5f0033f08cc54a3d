"""Distillation in two processes does what it does in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from distill_runs import settings, write_preferences
from test_grpo_processes import cli

from earwitness.tiny_text import build_tiny_text


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dpo", "kl"])
def test_two_processes_do_what_one_does(tiny_models, pair_data, tmp_path, loss):
    """Four preferences a step, in one process or two by two: the same figures and gradients."""
    judge = tiny_models["qwen2_5_omni"]
    expert = build_tiny_text(tmp_path / "expert", judge, seed=1)
    data = write_preferences(tmp_path / "data", pair_data, expert_prompt="facts")

    def run(name: str, processes: int) -> list[dict]:
        run = settings(judge, expert, data, tmp_path, output_dir=str(tmp_path / name), use_cpu=True)
        run["distill_loss"] = loss
        # Adam would blow rounding up to whole steps
        run |= {"per_device_train_batch_size": 4 // processes, "optim": "sgd", "learning_rate": 0.05}
        steps = cli(tmp_path, run, processes=processes)
        assert Path(run["output_dir"], "model.safetensors").is_file()
        return steps

    one, two = run("one", 1), run("two", 2)
    names = {"loss", "grad_norm", "kl", "kl_chosen", "rewards/margins", "rewards/accuracies", "logps/chosen"}
    assert names <= one[0].keys(), json.dumps(one[0])
    for before, after in zip(one, two, strict=True):
        for name in names:
            assert after[name] == pytest.approx(before[name], rel=2e-3, abs=1e-6), name
