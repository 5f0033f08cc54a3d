"""Silence, clipping and offsets are found; ordinary sound is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.audio.quality import inspect_clip, measure_quality

RATE = 16_000
TIME = np.arange(RATE) / RATE
SINE = (0.5 * np.sin(2 * np.pi * 220 * TIME)).astype(np.float32)
SPEECH_LIKE = (SINE * np.sin(2 * np.pi * 3 * TIME) * np.random.default_rng(0).uniform(0.5, 1, RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "finding"),
    [
        (SPEECH_LIKE, None),
        (SPEECH_LIKE * 0.01, None),  # soft, not silent
        (SPEECH_LIKE + np.float32(0.005), None),
        (np.ones(1, np.float32), "silent"),
        (np.zeros(RATE, np.float32), "silent: RMS -inf dBFS"),
        (np.full(RATE, 0.3, np.float32), "silent"),
        (SPEECH_LIKE * 1e-4, "silent: RMS -9"),
        (np.clip(2 * SINE, -0.7, 0.7), "clipped: "),
        (np.clip(4 * SINE, -1, 1) * np.float32(0.1), "clipped: "),  # clipped first, made softer later
        (np.round(np.clip(2 * SINE, -0.7, 0.7) * 32767) / 32767, "of the samples lie flat at the peak of 0.7"),
        (SPEECH_LIKE - np.float32(0.1), "DC offset: the mean is -0.1"),
    ],
)
def test_findings(samples: np.ndarray, finding: str | None) -> None:
    found = measure_quality(samples.astype(np.float32)).findings
    assert len(found) == (finding is not None)
    if finding:
        assert finding in found[0]


def test_measures_of_a_known_signal() -> None:
    quality = measure_quality(SINE + np.float32(0.25))
    assert quality.peak == pytest.approx(0.75, abs=1e-4)
    assert quality.dc == pytest.approx(0.25, abs=1e-6)
    assert quality.rms_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-3)
    assert quality.clipped_share == 0


def test_clips_are_known_by_their_sound(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.wav", "b.flac", "c.wav", "d.wav")]
    sound = np.round(SINE * 32767).astype(np.int16)
    for path, samples in zip(paths, (sound, sound, sound[::-1], sound), strict=True):
        soundfile.write(path, samples, 8_000 if path.name == "d.wav" else RATE)
    a, b, c, d = map(inspect_clip, map(str, paths))
    assert a.digest == b.digest
    assert len({a.digest, c.digest, d.digest}) == 3
    assert (a.samples, d.samples) == (RATE, 2 * RATE)
    assert d.seconds == 2.0


def test_a_clip_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    report = inspect_clip(str(tmp_path / "none.wav"))
    assert report.error == f"{tmp_path / 'none.wav'}: no such audio file"
    assert report.digest == ""
