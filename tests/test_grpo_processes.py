"""``stage: grpo`` through the plain ``llamafactory-cli``: its help, one process, two processes, DeepSpeed, resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from grpo_runs import LEARNS_TO_HEAR, journal, settings, steps, without_times
from grpo_runs import run as execute

CLI = Path(sys.executable).with_name("llamafactory-cli")


def cli(folder: Path, run: dict, processes: int = 1) -> list[dict]:
    """Run a YAML of these settings; return the log of its steps."""
    config = folder / "train.yaml"
    config.write_text(yaml.safe_dump(run))
    environment = {**os.environ, "PATH": f"{CLI.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    if processes > 1:
        environment |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(processes)}
    result = subprocess.run([CLI, "train", config], capture_output=True, text=True, env=environment, cwd=folder)
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    state = json.loads(Path(run["output_dir"], "trainer_state.json").read_text())
    return without_times(state["log_history"])


def zero(stage: int) -> dict:
    """DeepSpeed's configuration for a CPU, in full precision."""
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {"stage": stage, "stage3_gather_16bit_weights_on_model_save": True},
    }


@pytest.fixture
def base(tiny_models, pair_data, tmp_path):
    def make(**changes):
        defaults = {"max_steps": 2, "grpo_beta": 0.1, "use_cpu": True}
        return settings(tiny_models["qwen2_5_omni"], pair_data, tmp_path, **(defaults | changes))

    return make


def test_help_shows_the_stage_and_its_fields():
    result = subprocess.run([CLI, "train", "-h"], capture_output=True, text=True)
    for name in ("--grpo_num_generations", "--grpo_beta", "--reward_funcs", "--evaluator", "dpo,kto,grpo"):
        assert name in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("ddp", {}),
        ("ddp", {**LEARNS_TO_HEAR, "grpo_num_iterations": 2}),
        (2, {}),
        (3, {}),
        (3, LEARNS_TO_HEAR),
        (3, {"finetuning_type": "lora", "lora_target": "q_proj,v_proj"}),
    ],
    ids=["ddp", "ddp-tower-mu2", "zero2", "zero3", "zero3-tower", "zero3-lora"],
)
def test_two_processes_do_what_one_does(base, tmp_path, kind, changes):
    """A group of four over two processes of two: rewards, divergence and gradients are those of one process."""
    changes = changes | {"optim": "sgd", "learning_rate": 0.05}  # Adam would blow rounding up to whole steps
    alone = execute(base(output_dir=str(tmp_path / "one"), gradient_accumulation_steps=1, **changes))
    assert alone.policy.learns_to_hear == (LEARNS_TO_HEAR.items() <= changes.items())
    one = steps(alone)
    run = base(
        output_dir=str(tmp_path / "two"), per_device_train_batch_size=2, gradient_accumulation_steps=1, **changes
    )
    if kind != "ddp":
        (tmp_path / "zero.json").write_text(json.dumps(zero(kind)))
        run["deepspeed"] = str(tmp_path / "zero.json")
    two = cli(tmp_path, run, processes=2)
    for name in ("reward", "reward_std", "kl", "grad_norm", "entropy"):
        expected = [row[name] for row in one if name in row]  # rewards are logged with their completions
        assert [row[name] for row in two if name in row] == pytest.approx(expected, rel=2e-3, abs=1e-6), name
    rows = [
        [(row["id"], row["copy"], row["completion"]) for row in journal(tmp_path / folder)] for folder in ("one", "two")
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_two_processes_resume_within_a_batch_of_completions(base, tmp_path):
    """Killed after step 3 of 4 with two passes a batch, ZeRO-3: the rest is what the whole run did."""
    (tmp_path / "zero.json").write_text(json.dumps(zero(3)))
    changes = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "grpo_num_iterations": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 4,
        "deepspeed": str(tmp_path / "zero.json"),
    }
    whole = cli(tmp_path, base(output_dir=str(tmp_path / "out"), **changes), processes=2)
    rows = journal(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        if path.name == "checkpoint-4":
            path.rename(tmp_path / path.name)
    resumed = cli(tmp_path, base(output_dir=str(tmp_path / "out"), **changes), processes=2)
    for before, after in zip(whole, resumed, strict=True):
        assert {name: value for name, value in after.items() if "runtime" not in name} == pytest.approx(
            before, rel=1e-5
        )
    assert journal(tmp_path / "out") == rows
