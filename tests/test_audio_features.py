"""Features, masks and token counts equal the host's: its extractor, padded to the longest clip the model allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from earwitness.audio.features import (
    FRAMES_TOGETHER,
    batch_features,
    batch_features_of,
    frame_count,
    mel_features,
    token_count,
)
from earwitness.audio.lengths import checked_samples
from earwitness.audio.limits import MIN_SAMPLES, ClipTooLongError, Family
from earwitness.errors import UserError

RATE = 16_000
SHORT = WhisperFeatureExtractor(feature_size=128, chunk_length=30)  # as Qwen2-Audio's
LONG = WhisperFeatureExtractor(feature_size=128, chunk_length=300)  # as Qwen2.5-Omni's and Qwen3-Omni's
SMALL = WhisperFeatureExtractor(feature_size=80, chunk_length=2)  # the limit is reached in no time


def noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def host(waveforms: list[np.ndarray], extractor: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What LLaMA-Factory's ``_get_mm_inputs`` computes."""
    inputs = extractor(
        waveforms, sampling_rate=RATE, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    return inputs["input_features"], inputs["attention_mask"]


def assert_equal_to_host(waveforms: list[np.ndarray], extractor: Any, family: Family) -> None:
    features, mask = host(waveforms, extractor)
    ours = batch_features(waveforms, extractor, family)
    width = ours["input_features"].shape[2]
    frames = [frame_count(len(waveform), extractor) for waveform in waveforms]
    assert width == (extractor.nb_max_frames if family == "qwen2_audio" else max(frames))
    assert torch.equal(ours["input_features"], features[:, :, :width])  # 0.0: not one bit differs, silence included
    assert torch.equal(ours["feature_attention_mask"], mask[:, :width])
    assert ours["feature_attention_mask"].dtype == mask.dtype
    assert mask.sum(-1).tolist() == frames
    for waveform, row, count in zip(waveforms, features, frames, strict=True):
        assert np.array_equal(mel_features(waveform, extractor), row[:, :count].numpy())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2 * RATE), st.sampled_from([0.0, 1e-6, 0.1, 1.0])), min_size=1, max_size=4),
    st.sampled_from(get_args(Family)),
)
def test_any_batch(clips: list[tuple[int, float]], family: Family) -> None:
    waveforms = [noise(samples, seed, level) for seed, (samples, level) in enumerate(clips)]
    assert_equal_to_host(waveforms, SMALL, family)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30 * RATE), st.integers(1, 6 * RATE))
def test_durations_to_the_limit_of_qwen2_audio(first: int, second: int) -> None:
    assert_equal_to_host([noise(first), noise(second, 1)], SHORT, "qwen2_audio")


@pytest.mark.parametrize("samples", [1, 2, 159, 160, 161, 199, 200, 201, 320, 321, 480, 1_440, 2_400, 2_560, 16_080])
def test_edges_of_frames(samples: int) -> None:
    for family in get_args(Family):
        assert_equal_to_host([noise(samples), noise(4_000)], SMALL, family)


def test_edges_of_the_limit() -> None:
    for before in (0, 1, 159, 160, 161, 399, 400, 401, 560):
        assert_equal_to_host([noise(2 * RATE - before)], SMALL, "qwen2_audio")


def test_clips_of_minutes() -> None:
    assert_equal_to_host([noise(300 * RATE), noise(299 * RATE + 77), noise(5 * RATE + 1)], LONG, "qwen2_5_omni")


def test_more_clips_than_are_computed_as_one_signal() -> None:
    seconds = (0.4, 20, 0.01, 19, 15, 3, 30, 29, 0.3)
    waveforms = [noise(round(length * RATE) - seed, seed, 10.0 ** (seed - 6)) for seed, length in enumerate(seconds)]
    assert sum(frame_count(len(waveform), SHORT) for waveform in waveforms) > 2 * FRAMES_TOGETHER
    assert_equal_to_host(waveforms, SHORT, "qwen2_audio")


def test_a_click_in_the_last_frame_raises_the_floor_as_in_the_host() -> None:
    waveform = noise(5_000, level=1e-4)
    waveform[-1] = 1.0
    assert_equal_to_host([waveform], SMALL, "qwen2_audio")


def test_features_do_not_depend_on_the_batch() -> None:
    waveforms = [noise(samples, samples) for samples in (321, 1_601, 9_999, 20_000)]
    alone = [batch_features([waveform], SMALL, "qwen2_5_omni")["input_features"][0] for waveform in waveforms]
    together = batch_features(waveforms, SMALL, "qwen2_5_omni")["input_features"]
    for one, row in zip(alone, together, strict=True):
        assert torch.equal(one, row[:, : one.shape[1]])


def test_more_threads_change_nothing() -> None:
    waveform, threads = noise(30 * RATE), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = mel_features(waveform, SHORT)
        torch.set_num_threads(2)
        assert np.array_equal(mel_features(waveform, SHORT), one)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_what_torch_makes_by_default_changes_nothing(dtype: torch.dtype) -> None:
    """While transformers loads a model, in another thread too, torch makes tensors of the model's precision."""
    waveforms = [noise(9_999), noise(400, 1)]
    expected = batch_features(waveforms, SMALL, "qwen2_5_omni")["input_features"]
    fresh = WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    torch.set_default_dtype(dtype)
    try:
        found = batch_features(waveforms, fresh, "qwen2_5_omni")["input_features"]
        alone = mel_features(waveforms[1], fresh)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
    assert np.array_equal(alone, expected[1, :, : alone.shape[1]].numpy())


def test_token_counts_are_those_of_the_towers() -> None:
    """The towers' own formulas say how many embeddings they make of so many frames."""
    from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniAudioEncoder
    from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
    from transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as qwen3

    frames = torch.arange(1, 30_001)
    towers = {
        "qwen2_audio": Qwen2AudioEncoder._get_feat_extract_output_lengths(None, frames)[1],
        "qwen2_5_omni": Qwen2_5OmniAudioEncoder._get_feat_extract_output_lengths(None, frames)[1],
        "qwen3_omni": qwen3._get_feat_extract_output_lengths(frames),
    }
    for family, expected in towers.items():
        assert [token_count(count, family) for count in frames.tolist()] == expected.tolist()
    assert token_count(3_000, "qwen2_audio") == 750
    assert token_count(30_000, "qwen2_5_omni") == 7_500


@pytest.mark.parametrize("family", get_args(Family))
def test_shortest_clip_with_a_token(family: Family) -> None:
    shortest = MIN_SAMPLES[family]
    assert token_count(frame_count(shortest, SMALL), family) == 1
    if shortest > 1:
        assert token_count(frame_count(shortest - 1, SMALL), family) == 0


def write(path: Path, samples: int) -> str:
    soundfile.write(path, noise(samples), RATE)
    return str(path)


def test_short_and_long_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = write(tmp_path / "short.wav", 320), write(tmp_path / "long.wav", 2 * RATE + 1)
    for function in (checked_samples, lambda source, *rest: batch_features_of([source], *rest)):
        with pytest.raises(UserError, match=r"short\.wav: 320 samples at 16000 Hz are too short; .* at least 321"):
            function(short, SMALL, "qwen2_5_omni")
        for policy in ("error", "skip"):
            monkeypatch.setenv("EARWITNESS_OVERLONG", policy)
            with pytest.raises(ClipTooLongError, match=r"long\.wav: 2\.00 s, .* hears 2 s; cut the clip, or"):
                function(long, SMALL, "qwen2_5_omni")
        monkeypatch.setenv("EARWITNESS_OVERLONG", "chunk")
        with pytest.raises(UserError, match="EARWITNESS_OVERLONG is 'chunk'; allowed: error, skip, truncate"):
            function(long, SMALL, "qwen2_5_omni")
        monkeypatch.delenv("EARWITNESS_OVERLONG")


def test_truncated_as_the_host_does_without_a_word(tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", 3 * RATE)
    assert checked_samples(long, SMALL, "qwen2_5_omni", "truncate") == 2 * RATE
    ours = batch_features_of([long], SMALL, "qwen2_5_omni", "truncate")
    samples, _ = soundfile.read(long, dtype="float32")
    features, mask = host([samples], SMALL)
    assert torch.equal(ours["input_features"], features)
    assert torch.equal(ours["feature_attention_mask"], mask)


def test_what_the_extractor_cannot_take() -> None:
    for samples in (0, 2 * RATE + 1):
        with pytest.raises(UserError, match=f"clip of {samples} samples"):
            mel_features(noise(samples), SMALL)
    with pytest.raises(UserError, match=r"dither is 0\.1"):
        mel_features(noise(400), WhisperFeatureExtractor(feature_size=80, dither=0.1))
