"""The compiled mel power equals torch's to the bit; where a machine's torch adds up otherwise, torch computes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from earwitness.audio import mel_power
from earwitness.audio.features import frame_count, mel_features
from earwitness.audio.mel_power import MelPower


def filters(bins: int = 201, n_mels: int = 128) -> torch.Tensor:
    bank = mel_filter_bank(bins, n_mels, 0.0, 8_000.0, 16_000, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float().T.contiguous()


def spectrum(frames: int, bins: int, seed: int, scale: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(frames, bins, dtype=torch.complex64, generator=generator)
    return numbers * scale * 10.0 ** (-6 * torch.rand(frames, bins, generator=generator))


def assert_equals_torch(compiled: MelPower, bank: torch.Tensor, numbers: torch.Tensor) -> None:
    found = torch.empty(len(bank), len(numbers))
    compiled(numbers, found)
    assert torch.equal(found, bank @ (numbers.abs() ** 2).T)  # 0.0: not one bit differs


@pytest.mark.parametrize(("bins", "n_mels"), [(201, 128), (201, 80), (257, 40), (513, 128)])
def test_equals_torch_for_any_bank(bins: int, n_mels: int) -> None:
    bank = filters(bins, n_mels)
    compiled = MelPower(bank)
    for seed, frames in enumerate((64, 65, 127, 500, 1_024, 4_099)):
        for scale in (1e-10, 1.0, 1e6):
            assert_equals_torch(compiled, bank, spectrum(frames, bins, seed, scale))


BANK = filters()
COMPILED = MelPower(BANK)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.complex_numbers(max_magnitude=1e18, width=64), min_size=1, max_size=201), st.integers(64, 200))
def test_equals_torch_for_any_numbers(numbers: list[complex], frames: int) -> None:
    """Zeros of both signs, subnormal and huge numbers among them."""
    rows = torch.tensor(numbers, dtype=torch.complex64).repeat(frames, 201)[:, :201].contiguous()
    assert_equals_torch(COMPILED, BANK, rows)


def test_columns_are_where_they_are_asked_for() -> None:
    numbers = spectrum(200, 201, 0, 1.0)
    whole = torch.empty(128, 200)
    COMPILED(numbers, whole)
    parts = torch.full((128, 203), -1.0)
    for first, last in ((0, 70), (70, 71), (71, 200)):
        COMPILED(numbers[first:last], parts, first + 2)
    assert torch.equal(parts[:, 2:202], whole)  # however few frames there are at a time
    assert (parts[:, [0, 1, 202]] == -1.0).all()


def test_where_torch_adds_up_otherwise_torch_computes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MelPower, "_equals_torch", lambda self, cut: False)
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=30)
    for samples in (1, 400, 16_000, 11 * 16_000 + 7):
        waveform = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
        expected = extractor(waveform, sampling_rate=16_000, padding="max_length", return_tensors="np")
        frames = frame_count(samples, extractor)
        assert np.array_equal(mel_features(waveform, extractor), expected["input_features"][0][:, :frames])
    assert [record.levelname for record in caplog.records if "torch alone" in record.getMessage()] == ["WARNING"]


@pytest.mark.parametrize("disabled", [{}, {"NUMBA_DISABLE_JIT": "1"}], ids=["kept nowhere", "not compiled"])
def test_code_that_can_be_kept_nowhere_or_must_not_be_compiled(tmp_path: Path, disabled: dict[str, str]) -> None:
    """As in a container whose package and home cannot be written; here a file is where the folders would be."""
    shutil.copy(mel_power.__file__, tmp_path / "mel_power.py")
    (tmp_path / "__pycache__").touch()
    script = (
        "import mel_power as m, torch; x = torch.ones(64, 5, dtype=torch.complex64); out = torch.empty(3, 64); "
        "m.MelPower(torch.eye(3, 5))(x, out); "
        "print(float(out.sum()), getattr(m._mel_power, 'stats', None) and m._mel_power.stats.cache_path)"
    )
    kept = {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH"}
    environment = {name: value for name, value in os.environ.items() if name not in kept} | {"HOME": "/dev/null"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment | disabled, capture_output=True, text=True
    )
    assert done.stdout.split() == ["192.0", "None"], done.stderr
    assert ("NUMBA_DISABLE_JIT is set" in done.stderr) == bool(disabled)
