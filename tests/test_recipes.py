"""Every recipe of ``examples/judge``: its header, the real argument parser, and two steps with a tiny model."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY
from distill_runs import write_preferences
from openai_server import OpenAIServer

FOLDER = REPOSITORY / "examples/judge"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
REAL = [path for path in RECIPES if not path.name.startswith("tiny_")]
FAMILIES = {"qwen2_omni": "qwen2_5_omni", "qwen2_audio": "qwen2_audio", "qwen3_omni_nothink": "qwen3_omni"}


def name(path: Path) -> str:
    return path.stem


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def header(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines[: lines.index("")] if line.startswith("#"))


def test_there_are_recipes():
    assert len(REAL) >= 14


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_header_says_what_it_is_for(path):
    """Paper or purpose, hardware, memory and time with how they were estimated, data, commands before and after."""
    text = header(path)
    assert re.match(r"# (Reproduces|Trains): ", text)
    if path in REAL:
        for field in ("Hardware", "Memory", "Time", "Data", "Before", "Run", "After"):
            assert f"\n# {field}:" in text, f"{path.name} does not say: {field}"
        assert re.search(r"# Memory: .*\b(computed|measured)\b", text)
        assert re.search(r"# Time: (.|\n# {5})*(computed|measured|paper's figure)", text)
    else:
        assert "\n# Needs:" in text
    assert f"llamafactory-cli train {path.relative_to(REPOSITORY)}" in text
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 120


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_every_recipe_is_in_the_table(path):
    assert f"[`{path.name}`]({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_commands_of_the_header_exist(path):
    from earwitness.cli.main import commands

    text = header(path)
    for command in re.findall(r"^#[ \w:]*\bearwitness ([a-z-]+)", text, re.MULTILINE):
        assert command in commands()
    for file in re.findall(r"\b(?:examples|scripts|benchmarks|docs)/[\w./-]+\w", text):
        assert (REPOSITORY / file).exists(), file


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_real_parser_takes_every_field(path, tmp_path, monkeypatch):
    """Unknown keys, wrong types and combinations that we or the host refuse would fail here."""
    from llamafactory.hparams import get_train_args, parser

    monkeypatch.chdir(REPOSITORY)
    settings = load(path) | {"output_dir": str(tmp_path)}  # a finished run may lie in the recipe's own
    for key in [key for key in settings if key.startswith("ray_")]:
        del settings[key]  # parsed by get_ray_args below, and taken out before the others
    deepspeed = settings.pop("deepspeed", None)
    if deepspeed is not None:
        assert json.loads(Path(deepspeed).read_text())["zero_optimization"]["stage"] in (2, 3)
    settings["use_cpu"] = settings.get("bf16", False)  # the host takes bf16 on a CPU only if told that it is wanted
    get_train_args(dict(settings))
    parsed = parser._parse_train_args(dict(settings))
    known = {key for arguments in parsed for key in vars(arguments)}
    assert set(settings) <= known
    if "ray" in path.stem:
        assert parser.get_ray_args(load(path)).ray_num_workers == 8


def tiny(settings: dict[str, Any], folder: Path, models: dict[str, Path], data: Path) -> dict[str, Any]:
    """The same recipe on a tiny model and tiny data: only what a CPU and two steps call for is changed."""
    from earwitness.tiny_text import build_tiny_text

    model = models[FAMILIES[settings["template"]]]
    changed = dict(settings)
    for key in ("deepspeed", "num_train_epochs", "max_samples", "val_size", "eval_dataset", "ddp_timeout"):
        changed.pop(key, None)
    if find_spec("bitsandbytes") is None:
        for key in ("quantization_bit", "quantization_method", "double_quantization"):
            changed.pop(key, None)
    preferences = settings["stage"] == "dpo"
    changed |= {
        "model_name_or_path": str(model),
        "dataset": "rows" if preferences else "pairs",
        "dataset_dir": str(write_preferences(folder / "rows", data, expert_prompt="facts") if preferences else data),
        "media_dir": str(data),
        "output_dir": str(folder / "out"),
        "bf16": False,
        "max_steps": 2,
        "logging_steps": 1,
        "warmup_steps": 0,
        "warmup_ratio": 0.0,
        "save_strategy": "no",
        "eval_strategy": "no",
        "eval_on_start": False,
        "plot_loss": False,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": min(4, settings["per_device_train_batch_size"]),
    }
    if preferences:
        changed["expert_model"] = str(build_tiny_text(folder / "expert", model))
    if settings["stage"] == "grpo":
        changed |= {"grpo_max_new_tokens": 8, "grpo_num_generations": 4, "per_device_train_batch_size": 4}
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_two_steps_with_a_tiny_model(path, tiny_models, pair_data, tmp_path):
    """What ``llamafactory-cli train`` calls, in this process, because importing it takes longer than two steps."""
    from llamafactory.train.tuner import run_exp

    settings = tiny(load(path), tmp_path, tiny_models, pair_data)
    with OpenAIServer(lambda body: "7") as server:
        if "evaluator" in settings:
            settings["evaluator"] = {"base_url": server.url, "model": "grader"}
            settings["reward_funcs"] = settings["reward_funcs"][:4]  # the pairs hold no deepfake task
            settings["reward_weights"] = settings["reward_weights"][:4]
        for key in [key for key in settings if key.startswith("ray_")]:
            del settings[key]
        run_exp(settings)
    history = json.loads((tmp_path / "out/trainer_state.json").read_text())["log_history"]
    assert [row["step"] for row in history if "loss" in row] == [1, 2]


@pytest.mark.slow
def test_qlora_trains_on_four_bits_with_a_weighted_chain_of_thought(tiny_models, pair_data, tmp_path, monkeypatch):
    reason = "bitsandbytes is not installed (extra qlora); it runs on a CPU too"
    bitsandbytes = pytest.importorskip("bitsandbytes", reason=reason)
    from llamafactory.train.tuner import run_exp

    layers: set[int] = set()
    forward = bitsandbytes.nn.Linear4bit.forward
    monkeypatch.setattr(
        bitsandbytes.nn.Linear4bit, "forward", lambda self, *inputs: layers.add(id(self)) or forward(self, *inputs)
    )
    settings = tiny(load(FOLDER / "qlora_single_gpu.yaml"), tmp_path, tiny_models, pair_data)
    run_exp(settings | {"cot_loss_weight": 0.5})
    history = json.loads((tmp_path / "out/trainer_state.json").read_text())["log_history"]
    assert layers
    assert all(row["loss_thinking"] > 0 and row["loss_answer"] > 0 for row in history if "loss" in row)
