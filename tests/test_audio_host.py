"""The hooked plugins give what LLaMA-Factory's own plugins give, for every family, from files to model inputs."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from earwitness.audio.plugin import ExactAudio
from earwitness.errors import UserError
from earwitness.infer.model import TEMPLATES
from earwitness.infer.prompting import HostPrompts

RATE = 16_000
BATCHES = [[321], [480, 16_000, 15_999], [1_600, 40_123, 5_000, 322]]


def clip(path: Path, samples: int) -> str:
    soundfile.write(path, 0.1 * np.random.default_rng(samples).standard_normal(samples), RATE)
    return str(path)


def own_plugin(ours: Any) -> Any:
    """The host's plugin behind one of ours, with a loader that works put in."""

    def load(self: Any, audios: list, sampling_rate: float, **_: Any) -> dict[str, Any]:
        return {"audios": [soundfile.read(audio, dtype="float32")[0] for audio in audios], "sampling_rates": []}

    host = type(ours).__mro__[2]
    assert host.__module__ == "llamafactory.data.mm_plugin"
    assert not issubclass(host, ExactAudio)
    with_loader = type(host.__name__, (host,), {"_regularize_audios": load})
    return with_loader(**{field.name: getattr(ours, field.name) for field in fields(ours)})


@pytest.fixture(scope="module", params=list(TEMPLATES))
def prompts(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> HostPrompts:
    return HostPrompts(tiny_models[request.param], TEMPLATES[request.param])


def encode(prompts: HostPrompts, plugin: Any, audios: list[Any]) -> list[int]:
    messages = [{"role": "user", "content": "Hear " + "<audio> " * len(audios)}, {"role": "assistant", "content": "1"}]
    expanded = plugin.process_messages(messages, [], [], audios, prompts.processor)
    return [*prompts._template.encode_oneturn(prompts.tokenizer, expanded)[0]]


def collate(prompts: HostPrompts, plugin: Any, audios: list[Any], ids: list[int]) -> dict[str, torch.Tensor]:
    return plugin.get_mm_inputs([], [], audios, [0], [0], [len(audios)], [ids], prompts.processor)


@pytest.mark.parametrize("batch", BATCHES)
def test_prompts_features_and_masks_are_equal(prompts: HostPrompts, tmp_path: Path, batch: list[int]) -> None:
    ours = prompts._template.mm_plugin
    host = own_plugin(ours)
    audios = [clip(tmp_path / f"{samples}.wav", samples) for samples in batch]
    ids = encode(prompts, ours, audios)
    assert ids == encode(prompts, host, audios)
    expected, found = collate(prompts, host, audios, ids), collate(prompts, ours, audios, ids)
    assert found.keys() == expected.keys()
    width = found["input_features"].shape[2]
    assert torch.equal(found["input_features"], expected["input_features"][:, :, :width])
    assert torch.equal(found["feature_attention_mask"], expected["feature_attention_mask"][:, :width])
    assert int(expected["feature_attention_mask"][:, width:].sum()) == 0
    for name in found:
        assert found[name].dtype == expected[name].dtype


def test_an_open_file_may_be_read_again_and_again(prompts: HostPrompts, tmp_path: Path) -> None:
    """The host's API hands over the same in-memory file for the prompt and for the features."""
    ours = prompts._template.mm_plugin
    path = clip(tmp_path / "a.wav", 9_000)
    file = io.BytesIO(Path(path).read_bytes())
    ids = encode(prompts, ours, [file])
    assert ids == encode(prompts, ours, [path])
    from_file, from_path = collate(prompts, ours, [file], ids), collate(prompts, ours, [path], ids)
    assert torch.equal(from_file["input_features"], from_path["input_features"])


def test_a_clip_that_changed_after_tokenisation_is_an_error(prompts: HostPrompts, tmp_path: Path) -> None:
    ours = prompts._template.mm_plugin
    path = clip(tmp_path / "a.wav", 9_000)
    ids = encode(prompts, ours, [path])
    clip(Path(path), 18_000)
    with pytest.raises(UserError, match=r"a\.wav: the prompt holds \d+ audio tokens but the clips give \d+ embeddings"):
        collate(prompts, ours, [path], ids)
