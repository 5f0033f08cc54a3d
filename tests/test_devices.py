"""Training and judging on a GPU, and in bfloat16 on either, against the CPU in float32.

``python -m pytest -m slow`` runs them on the CPU, ``-m gpu`` on a GPU. Every other test runs with GPUs hidden, because
it compares numbers to the last bits.
"""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import distill_runs
import grpo_runs
import pytest
import torch
from infer_data import judged, write_pairs
from sft_settings import sft_settings

from earwitness.infer.engine import Answer
from earwitness.infer.options import Decoding
from earwitness.tiny_text import build_tiny_text

FAMILIES = {"qwen2_5_omni": "qwen2_omni", "qwen2_audio": "qwen2_audio", "qwen3_omni": "qwen3_omni_nothink"}
ROUNDING = {"float32": 1e-3, "bfloat16": 0.05}
"""How far shares of a label may lie from the CPU's in float32; a bfloat16 has three digits."""

pytestmark = [pytest.mark.slow, pytest.mark.gpu]


@pytest.fixture
def device(pytestconfig: pytest.Config) -> str:
    if "gpu" not in pytestconfig.option.markexpr:
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return "cuda"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("infer"))


def assert_close(found: list[Answer], expected: list[Answer], tolerance: float) -> None:
    assert len(found) == len(expected) == 32
    for one, other in zip(found, expected, strict=True):
        assert one.shares[0].probabilities == pytest.approx(other.shares[0].probabilities, abs=tolerance)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_are_the_cpus(tiny_models, data, device, family, dtype):
    asked = Decoding(verdict_only=True)
    expected = judged(tiny_models[family], data, asked, device="cpu")
    assert_close(judged(tiny_models[family], data, asked, device=device, dtype=dtype), expected, ROUNDING[dtype])


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_the_cpus(tiny_models, data, device, family):
    asked = Decoding(max_new_tokens=8)
    expected = [answer.texts for answer in judged(tiny_models[family], data, asked, device="cpu")]
    found = [answer.texts for answer in judged(tiny_models[family], data, asked, device=device, dtype="float32")]
    # Random weights have near ties, which another order of summation may decide otherwise.
    assert sum(one == other for one, other in zip(found, expected, strict=True)) >= 0.9 * len(expected)


def test_compiled_answers_and_remembered_towers_are_the_plain_models(tiny_models, data, device, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    asked, model = Decoding(verdict_only=True), tiny_models["qwen2_5_omni"]
    plain = judged(model, data, asked, device=device, dtype="bfloat16")
    assert_close(judged(model, data, asked, device=device, dtype="bfloat16", compiled=True), plain, 0.05)
    for _ in range(2):  # stored, then found
        remembering = judged(model, data, asked, device=device, dtype="bfloat16", tower_cache=str(tmp_path / "tower"))
        assert_close(remembering, plain, 0.02)


def logged(settings: dict[str, Any]) -> list[dict[str, float]]:
    """What ``llamafactory-cli train`` logs of each step."""
    from llamafactory.train.tuner import _training_function

    _training_function({"args": dict(settings), "callbacks": []})
    history = json.loads(Path(settings["output_dir"], "trainer_state.json").read_text())["log_history"]
    return [row for row in history if "loss" in row]


@pytest.mark.parametrize("family", FAMILIES)
def test_weighted_sft_starts_at_the_cpus_loss(tiny_models, pair_data, device, tmp_path, family):
    def run(name: str, **changes: Any) -> list[dict[str, float]]:
        common = {"template": FAMILIES[family], "dataset": "pairs", "cot_loss_weight": 0.3, "cutoff_len": 2048}
        common |= {"save_strategy": "no", "disable_shuffling": True, "learning_rate": 1e-3}
        return logged(sft_settings(tiny_models[family], pair_data, tmp_path / name, **common | changes))

    here, on_cpu = run("here", use_cpu=True), device == "cpu"
    full, half = run("float32", use_cpu=on_cpu), run("bfloat16", use_cpu=on_cpu, bf16=True)
    for steps, tolerance in ((full, 1e-3), (half, 0.05)):
        for term in ("loss", "loss_thinking", "loss_answer"):
            assert steps[0][term] == pytest.approx(here[0][term], rel=tolerance)
        assert steps[1]["loss"] < steps[0]["loss"]


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra [qlora])")
def test_qlora_learns(tiny_models, pair_data, device, tmp_path):
    changes = {"finetuning_type": "lora", "quantization_bit": 4, "bf16": True, "learning_rate": 1e-2, "max_steps": 6}
    changes |= {"use_cpu": device == "cpu"}
    steps = logged(
        sft_settings(tiny_models["qwen2_5_omni"], pair_data, tmp_path, dataset="pairs", save_strategy="no", **changes)
    )
    assert steps[-1]["loss"] < steps[0]["loss"]


@pytest.mark.parametrize("precision", [{}, {"bf16": True}], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_grpo_starts_at_its_reference(tiny_models, pair_data, device, tmp_path, family, precision):
    changes = {"template": FAMILIES[family], "cutoff_len": 2048, "grpo_beta": 0.1, "use_cpu": device == "cpu"}
    changes |= grpo_runs.LEARNS_TO_HEAR
    trainer = grpo_runs.run(grpo_runs.settings(tiny_models[family], pair_data, tmp_path, **changes, **precision))
    assert trainer.accelerator.device.type == device
    first, second = grpo_runs.steps(trainer)
    assert abs(first["kl"]) < (1e-2 if precision else 1e-6)
    assert math.isfinite(second["loss"])
    assert second["grad_norm"] > 0


def test_grpo_resumes(tiny_models, pair_data, device, tmp_path):
    """In bfloat16 with LoRA, completions used twice; what is kept of a step goes to the disk and back to the GPU."""
    changes = {"finetuning_type": "lora", "bf16": True, "grpo_num_iterations": 2, "max_steps": 4}
    changes |= {"use_cpu": device == "cpu"}
    settings = grpo_runs.settings(
        tiny_models["qwen2_5_omni"], pair_data, tmp_path, **changes, save_strategy="steps", save_steps=3
    )
    whole = grpo_runs.steps(grpo_runs.run(settings))
    resumed = grpo_runs.run(settings | {"resume_from_checkpoint": str(tmp_path / "out" / "checkpoint-3")})
    assert len(grpo_runs.steps(resumed)) == len(whole) == 4
    assert grpo_runs.steps(resumed)[-1]["loss"] == pytest.approx(whole[-1]["loss"], abs=1e-3)


@pytest.mark.parametrize("loss", ["dpo", "kl"])
def test_distillation_moves_towards_the_expert(tiny_models, pair_data, device, tmp_path, monkeypatch, loss):
    expert = build_tiny_text(tmp_path / "expert", tiny_models["qwen2_5_omni"])
    rows = distill_runs.write_preferences(tmp_path / "rows", pair_data)
    settings = distill_runs.settings(tiny_models["qwen2_5_omni"], expert, rows, tmp_path, distill_loss=loss, bf16=True)
    trainer = distill_runs.Trainers(monkeypatch).run(
        settings | {"max_steps": 15, "learning_rate": 3e-3, "use_cpu": device == "cpu"}
    )
    assert trainer.accelerator.device.type == device
    steps = [row for row in trainer.state.log_history if "loss" in row]
    assert steps[-1]["loss"] < steps[0]["loss"]
