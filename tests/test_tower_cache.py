"""Outputs of a frozen tower may come from disk: losses, rewards and verdicts stay what they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import grpo_runs
import pytest
import torch
import transformers
import yaml

from earwitness.audio.cache import ArrayStore
from earwitness.audio.tower import use_exact_tower
from earwitness.audio.tower_cache import remember_tower_outputs
from earwitness.errors import UserError
from earwitness.infer.model import TEMPLATES, JudgeModel, find_model

CLI = Path(sys.executable).with_name("llamafactory-cli")
FAMILIES = list(TEMPLATES)


@pytest.fixture
def stored(monkeypatch) -> list[str]:
    """The names of outputs as they are stored: of clips that went through the tower."""
    names: list[str] = []
    put = ArrayStore.put
    monkeypatch.setattr(ArrayStore, "put", lambda self, name, *rest: names.append(name) or put(self, name, *rest))
    return names


@pytest.fixture
def settings(tiny_models, pair_data, tmp_path):
    def make(family: str = "qwen2_5_omni", **changes):
        return {
            "model_name_or_path": str(tiny_models[family]),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "full",
            "freeze_vision_tower": True,
            "dataset": "pairs",
            "dataset_dir": str(pair_data),
            "template": TEMPLATES[family],
            "cutoff_len": 2048,
            "output_dir": str(tmp_path / "out"),
            "overwrite_output_dir": True,
            "per_device_train_batch_size": 2,
            "max_steps": 4,
            "logging_steps": 1,
            "learning_rate": 1e-3,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
        } | changes

    return make


def losses(settings: dict) -> list[float]:
    """Train in this process."""
    from llamafactory.train.tuner import run_exp

    shutil.rmtree(settings["output_dir"], ignore_errors=True)
    run_exp(dict(settings))
    return logged(settings)


def logged(settings: dict) -> list[float]:
    history = json.loads(Path(settings["output_dir"], "trainer_state.json").read_text())["log_history"]
    return [row["loss"] for row in history if "loss" in row]


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_stay(family, settings, tmp_path, stored):
    """Eight clips, seen twice: eight go through the tower, then none."""
    plain = losses(settings(family))
    assert not stored
    remembering = settings(family, tower_cache_dir=str(tmp_path / "cache"))
    assert losses(remembering) == pytest.approx(plain, abs=1e-5)
    assert len(stored) == 8
    assert losses(remembering) == pytest.approx(plain, abs=1e-5)
    assert len(stored) == 8
    assert len(set(plain)) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_rewards_and_gradients_of_grpo_stay(family, tiny_models, pair_data, tmp_path, stored):
    def steps(**changes) -> list[dict[str, float]]:
        run = grpo_runs.settings(tiny_models[family], pair_data, tmp_path, template=TEMPLATES[family], **changes)
        return grpo_runs.steps(
            grpo_runs.run(run | {"cutoff_len": 2048, "grpo_beta": 0.1, "overwrite_output_dir": True})
        )

    plain = steps()
    for _ in range(2):
        for row, expected in zip(steps(tower_cache_dir=str(tmp_path / "cache")), plain, strict=True):
            for name in ("loss", "kl", "grad_norm", "reward"):
                assert row[name] == pytest.approx(expected[name], abs=1e-5)
    assert 0 < len(stored) <= 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_judge_hears_the_same_to_the_last_bit(family, dtype, tiny_models, tmp_path, stored):
    files = find_model(str(tiny_models[family]))
    generator = torch.Generator().manual_seed(0)
    clips = []
    for frames in (37, 413):
        width = 3000 if family == "qwen2_audio" else frames
        clips.append((torch.randn(128, width, generator=generator), (torch.arange(width) < frames).int()))
    plain = JudgeModel(files, "cpu", dtype)
    expected = [plain.embed_clip(*clip) for clip in clips]
    for _ in range(2):
        model = JudgeModel(files, "cpu", dtype, str(tmp_path))
        for clip, output in zip(clips, expected, strict=True):
            assert torch.equal(model.embed_clip(*clip), output)
    assert len(stored) == 2


def load(path: Path) -> torch.nn.Module:
    model = transformers.AutoModelForTextToWaveform.from_pretrained(path).thinker.eval().requires_grad_(False)
    use_exact_tower(model)
    return model


def hear(model: torch.nn.Module, clip: torch.Tensor) -> torch.Tensor:
    mask = torch.ones(1, clip.shape[1], dtype=torch.long)
    return model.get_audio_features(clip[None], feature_attention_mask=mask).last_hidden_state


def test_other_weights_are_another_tower(tiny_models, tmp_path, stored):
    """Also where they change after the cache was set up, as a merged adapter would change them."""
    model = load(tiny_models["qwen2_5_omni"])
    remember_tower_outputs(model, tmp_path)
    clip = torch.randn(128, 80)
    first = hear(model, clip)
    assert torch.equal(hear(model, clip), first)
    assert len(stored) == 1
    with torch.no_grad():
        model.audio_tower.proj.weight.mul_(2)
    changed = hear(model, clip)
    assert not torch.equal(changed, first)
    plain = load(tiny_models["qwen2_5_omni"])
    with torch.no_grad():
        plain.audio_tower.proj.weight.mul_(2)
    assert torch.equal(changed, hear(plain, clip))
    assert len(stored) == 2


def test_a_tower_that_is_unfrozen_later_gets_its_gradient(tiny_models, tmp_path):
    model = load(tiny_models["qwen2_5_omni"])
    remember_tower_outputs(model, tmp_path)
    clip = torch.randn(128, 80)
    hear(model, clip)
    model.audio_tower.requires_grad_(True)
    hear(model, clip).sum().backward()
    assert model.audio_tower.conv1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"freeze_vision_tower": False, "freeze_multi_modal_projector": False},
            r"tower_cache_dir: the audio tower is trained \(\d+ of its \d+ tensors, \S+ first\), so its outputs change",
        ),
        (
            {"freeze_vision_tower": False, "finetuning_type": "lora", "lora_target": "fc1,q_proj"},
            r"tower_cache_dir: the audio tower is trained \(\d+ of its \d+ tensors, layers\.0\.\S*lora_A",
        ),
        ({"tower_cache_mb": 0}, "tower_cache_mb: 0 is not allowed; give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(settings, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        losses(settings(tower_cache_dir=str(tmp_path / "cache"), **changes))


def test_a_model_without_ears_is_refused(tmp_path):
    with pytest.raises(UserError, match="a Linear has no audio tower whose outputs can be kept"):
        remember_tower_outputs(torch.nn.Linear(2, 2), tmp_path)


def test_two_processes_share_a_folder(settings, tmp_path):
    """A batch of four rows of equal answer length is the same mean over two processes of two rows each."""
    run = settings(dataset="clips", disable_shuffling=True, max_steps=3, per_device_train_batch_size=4)
    config = tmp_path / "two.yaml"
    changes = {"per_device_train_batch_size": 2, "tower_cache_dir": str(tmp_path / "cache")}
    config.write_text(yaml.safe_dump(run | changes | {"output_dir": str(tmp_path / "two")}))
    environment = {**os.environ, "PATH": f"{CLI.parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"OMP_NUM_THREADS": "1", "FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}
    command = [CLI, "train", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert logged({"output_dir": tmp_path / "two"}) == pytest.approx(losses(run), abs=1e-4)
    assert len([file for file in (tmp_path / "cache").rglob("*") if file.is_file()]) == 8
