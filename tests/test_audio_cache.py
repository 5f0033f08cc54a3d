"""Caches change no number, stay within their bounds, and survive damage, other processes and full disks."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor

from earwitness.audio import cache, features
from earwitness.audio.cache import ArrayStore, MemoryCache, disk_store, memory_cache
from earwitness.errors import UserError

EXTRACTOR = WhisperFeatureExtractor(feature_size=80, chunk_length=2)


@pytest.fixture(autouse=True)
def fresh_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("EARWITNESS_CACHE_DIR", "EARWITNESS_CACHE_MB", "EARWITNESS_AUDIO_CACHE_MB"):
        monkeypatch.delenv(variable, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    memory_cache.cache_clear()
    disk_store.cache_clear()


def clip(path: Path, seed: int = 0, samples: int = 9_000) -> str:
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(samples), 16_000)
    return str(path)


def batch(*sources: object) -> torch.Tensor:
    return features.batch_features_of(sources, EXTRACTOR, "qwen2_5_omni")["input_features"]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The waveforms whose features were computed."""
    clips: list[object] = []
    compute = features.padded_log_mels
    monkeypatch.setattr(features, "padded_log_mels", lambda waves, fe: clips.extend(waves) or compute(waves, fe))
    return clips


def test_memory_keeps_the_most_recent_within_its_bound() -> None:
    kept: MemoryCache[bytes] = MemoryCache(10, len)
    for key in "abc":
        kept.put(key, bytes(4))
    assert [kept.get(key) is not None for key in "abc"] == [False, True, True]
    kept.get("b")
    kept.put("d", bytes(3))
    assert [kept.get(key) is not None for key in "bcd"] == [True, False, True]
    kept.put("b", bytes(1))
    assert kept.bytes == 4
    kept.put("e", bytes(11))
    assert kept.get("e") is None
    assert kept.bytes == 4


def test_a_clip_is_computed_once_until_its_file_changes(tmp_path: Path, computed: list[object]) -> None:
    path = clip(tmp_path / "a.wav")
    first = batch(path, path)
    assert torch.equal(batch(path, path), first)
    assert len(computed) == 1
    clip(Path(path), seed=1)
    assert not torch.equal(batch(path, path), first)
    assert len(computed) == 2


def test_no_memory_wanted(tmp_path: Path, computed: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_AUDIO_CACHE_MB", "0")
    path = clip(tmp_path / "a.wav")
    batch(path), batch(path)
    assert len(computed) == 2


def test_the_disk_remembers_content(tmp_path: Path, computed: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE_DIR", str(tmp_path / "cache"))
    path = clip(tmp_path / "a.wav")
    expected = batch(path)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(Path(path).read_bytes())
    forget()
    for source in (path, copy, copy.read_bytes(), {"bytes": copy.read_bytes(), "path": None}):
        assert torch.equal(batch(source), expected)
    assert len(computed) == 1

    other = WhisperFeatureExtractor(feature_size=128, chunk_length=2)
    assert features.batch_features_of([path], other, "qwen2_5_omni")["input_features"].shape[1] == 128
    assert len(computed) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damage_on_disk_is_noticed(
    damage: str, tmp_path: Path, computed: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARWITNESS_CACHE_DIR", str(tmp_path / "cache"))
    path = clip(tmp_path / "a.wav")
    expected = batch(path)
    (stored,) = (file for file in (tmp_path / "cache").rglob("*") if file.is_file())
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes({"flip": bytes(content), "cut": content[:-4], "empty": b""}[damage])
    forget()
    assert torch.equal(batch(path), expected)
    assert len(computed) == 2
    forget()
    assert torch.equal(batch(path), expected)
    assert len(computed) == 2


def test_the_disk_stays_within_its_bound_and_keeps_what_is_used(tmp_path: Path) -> None:
    matrix = np.ones((8, 128), np.float32)  # 4 KiB
    store = ArrayStore(tmp_path, 40 * 4096)
    for number in range(200):
        store.put(f"{number:04d}", matrix * number, number)
        assert store.get("0000") is not None
        os.utime(tmp_path / "00" / "00", ns=(number * 10**9, 10**18 + number * 10**9))  # clocks are coarse
        if number:
            os.utime(tmp_path / f"{number:04d}"[:2] / f"{number:04d}"[2:], ns=(0, number * 10**9))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 41 * 4200
    found = store.get("0199")
    assert found is not None
    assert np.array_equal(found[0], matrix * 199)
    assert found[1] == 199
    assert store.get("0001") is None


USE_STORE = """
import sys
from pathlib import Path
import numpy as np
from earwitness.audio.cache import ArrayStore

store = ArrayStore(Path(sys.argv[1]), 2**20)
for number in np.random.default_rng(int(sys.argv[2])).integers(0, 40, 300).tolist():
    found = store.get(f"{number:02d}key")
    if found is None:
        store.put(f"{number:02d}key", np.full((20, 500), number, np.float32), number)
    else:
        assert found[1] == number
        assert (found[0] == number).all()
"""


def test_several_processes_share_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", USE_STORE, str(tmp_path)]
    users = [subprocess.Popen([*command, str(seed)], stderr=subprocess.PIPE) for seed in range(3)]
    for user in users:
        assert user.communicate(timeout=60)[1] == b""
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix == ".part"]
    assert sum(file.stat().st_size for file in files) <= 2**20 * (1 + 3 / 64) + 40_100


def test_what_another_process_is_writing_stays_until_that_process_is_gone(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, 64 * 4096)
    running, killed = tmp_path / "00" / "a.part", tmp_path / "00" / "b.part"
    running.parent.mkdir()
    running.write_bytes(bytes(200 * 4096))
    killed.write_bytes(bytes(200 * 4096))
    os.utime(killed, (0, 0))
    store.put("0001", np.ones((8, 128), np.float32), 1)
    assert running.exists()
    assert not killed.exists()
    assert store.get("0001") is not None


def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = ArrayStore(tmp_path / "file", 2**20)
    with pytest.warns(UserWarning, match="file: this cache cannot be written"):
        store.put("key", np.ones((2, 2), np.float32), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put("key", np.ones((2, 2), np.float32), 1)
    assert store.get("key") is None


def test_settings_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARWITNESS_AUDIO_CACHE_MB", "lots")
    with pytest.raises(UserError, match="EARWITNESS_AUDIO_CACHE_MB is 'lots'; must be a whole number of megabytes"):
        cache.memory_cache()
