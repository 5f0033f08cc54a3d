"""On a GPU no tensor is left behind on the CPU: training and judging with one that is pretended, against the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import distill_runs
import grpo_runs
import pytest
import torch
from infer_data import judged, write_pairs
from pretended_gpu import DevicesMixedError, PretendedGPU, pretended_gpu
from sft_settings import sft_settings

from earwitness.infer.engine import Answer
from earwitness.infer.options import Decoding
from earwitness.tiny_text import build_tiny_text

TEMPLATES = {"qwen2_5_omni": "qwen2_omni", "qwen2_audio": "qwen2_audio"}
"""Not Qwen3-Omni: transformers asks a real GPU what its experts can do."""


def test_the_pretended_gpu_refuses_what_a_real_one_refuses():
    here = torch.ones(2, 2)
    with PretendedGPU():
        there = here.to("cuda")
        assert there.device.type == "cuda"
        assert here.device.type == "cpu"
        assert (there @ torch.eye(2, device="cuda")).sum().device.type == "cuda"
        assert torch.equal((there + torch.tensor(1.0)).cpu(), here + 1)
        for mixed in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: there.numpy(),
            lambda: here @ there,
        ):
            with pytest.raises(DevicesMixedError):
                mixed()
        layer = torch.nn.Linear(2, 2).to("cuda")
        layer(there).sum().backward()
        assert layer.weight.grad.device.type == "cuda"
        with pytest.raises(DevicesMixedError):
            layer(here)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("infer"))


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize(
    ("judge", "decoding"),
    [
        ("plain", Decoding(verdict_only=True)),
        ("thinks", Decoding(max_new_tokens=12)),
        ("plain", Decoding(max_new_tokens=4, samples=2, temperature=1.0)),
    ],
    ids=["verdict", "thought", "samples"],
)
def test_judging(tiny_models, data, tmp_path, monkeypatch, family, judge, decoding):
    def answers(device: str) -> list[Answer]:
        return judged(tiny_models[family], data, decoding, judge, device=device, tower_cache=str(tmp_path))

    expected = answers("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    with PretendedGPU() as gpu:
        found = answers("cuda")
    assert gpu.operations > 1_000
    assert [answer.texts for answer in found] == [answer.texts for answer in expected]
    assert [answer.shares for answer in found] == [answer.shares for answer in expected]


def losses(folder: str | Path) -> list[tuple[float, float]]:
    history = json.loads(Path(folder, "trainer_state.json").read_text())["log_history"]
    return [(row["loss"], row["grad_norm"]) for row in history if "loss" in row]


def on_both(train: Any) -> None:
    """Train on the CPU, then with the GPU; the same numbers, because both compute on the CPU."""
    expected = train("cpu")
    with pretended_gpu() as gpu:
        found = train("gpu")
    assert gpu.operations > 1_000
    assert found == expected
    assert len(found) == 2


@pytest.mark.parametrize("changes", [{}, {"finetuning_type": "lora"}, {"tower_cache_dir": "tower"}], ids=str)
@pytest.mark.parametrize("family", TEMPLATES)
def test_weighted_sft(tiny_models, pair_data, tmp_path, monkeypatch, family, changes):
    from llamafactory.train.tuner import _training_function

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")

    def train(name: str) -> list[tuple[float, float]]:
        common = {"template": TEMPLATES[family], "dataset": "pairs", "cutoff_len": 2048, "cot_loss_weight": 0.3}
        common |= {"save_strategy": "no", "use_cpu": True}
        settings = sft_settings(tiny_models[family], pair_data, tmp_path / name, **common | changes)
        _training_function({"args": settings, "callbacks": []})
        return losses(tmp_path / name)

    on_both(train)


@pytest.mark.parametrize(
    "changes",
    [grpo_runs.LEARNS_TO_HEAR, {"finetuning_type": "lora", "grpo_num_iterations": 2}],
    ids=["hears", "lora"],
)
@pytest.mark.parametrize("family", TEMPLATES)
def test_grpo(tiny_models, pair_data, tmp_path, family, changes):
    def train(name: str) -> list[tuple[float, float]]:
        common = {"template": TEMPLATES[family], "cutoff_len": 2048, "grpo_beta": 0.1, "use_cpu": True}
        common |= {"output_dir": str(tmp_path / name)}
        trainer = grpo_runs.run(grpo_runs.settings(tiny_models[family], pair_data, tmp_path, **common | changes))
        return [(row["loss"], row["grad_norm"]) for row in grpo_runs.steps(trainer)]

    on_both(train)


@pytest.mark.parametrize("loss", ["dpo", "kl"])
def test_distillation(tiny_models, pair_data, tmp_path, monkeypatch, loss):
    model = tiny_models["qwen2_5_omni"]
    expert = build_tiny_text(tmp_path / "expert", model)
    rows = distill_runs.write_preferences(tmp_path / "rows", pair_data)
    trainers = distill_runs.Trainers(monkeypatch)

    def train(name: str) -> list[tuple[float, float]]:
        changes = {"output_dir": str(tmp_path / name), "distill_loss": loss, "use_cpu": True}
        trainers.run(distill_runs.settings(model, expert, rows, tmp_path, **changes))
        return losses(tmp_path / name)

    on_both(train)
