"""What a person wants to know about a clip, in units that they know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.gaps import Gaps
from earwitness.analysis.profile import loudness_weights
from earwitness.analysis.voice import HOP, RATE, Frames, band_centres, band_edges
from earwitness.data.synth.levels import loudness

AUDIBLE_DB = 40.0  # a band belongs to the speech that is at most this far below the strongest one
ABOVE_FLOOR = 2.0  # and at least this many times the noise in power
TILT_HZ = (200.0, 6000.0)


@dataclass(frozen=True)
class Measurements:
    """Of one clip; None where there is no speech to measure it on.

    Attributes:
        seconds: its length.
        speech_seconds: how long speech is heard.
        loudness_lufs: integrated, ITU-R BS.1770-4, without missing stretches; None for silence.
        peak_dbfs: highest sample; None for digital silence.
        noise_floor_dbfs: power of the quietest tenth of the clip in each band, summed.
        snr_db: speech over that floor, both K-weighted.
        low_hz, high_hz: band that the speech fills, up to 7800 Hz: clips are measured at 16 kHz.
        tilt_db_per_octave: of the speech's spectrum, 200 to 6000 Hz.
        clipped_share: samples that lie flat at the peak, at the clip's own rate.
        crest_db: of the speech, 99.9 % quantile of its amplitudes over its RMS.
        gaps: how often sound is missing.
        longest_gap_seconds: the longest of these; 0 without.
        missing_share, repeated_share: lost sound, and sound heard twice, over all speech, heard or lost, 0 to 1.
    """

    seconds: float
    speech_seconds: float
    loudness_lufs: float | None
    peak_dbfs: float | None
    noise_floor_dbfs: float | None
    snr_db: float | None
    low_hz: float | None
    high_hz: float | None
    tilt_db_per_octave: float | None
    clipped_share: float
    crest_db: float | None
    gaps: int
    longest_gap_seconds: float
    missing_share: float
    repeated_share: float


def measure(samples: NDArray[np.float32], frames: Frames, gaps: Gaps, clipped_share: float) -> Measurements:
    """Measure a clip.

    Args:
        samples: (n,), 16 kHz.
        frames: of ``voice.analyse``.
        gaps: of ``gaps.find_gaps``.
        clipped_share: measured at the clip's own rate.
    """
    heard = int(np.count_nonzero(frames.active)) * HOP
    whole = max(1, heard + gaps.missing_samples)
    lengths = gaps.missing[:, 1] - gaps.missing[:, 0]
    peak = float(np.abs(samples).max(initial=0))
    level = loudness(_without(samples, gaps))
    spectral = _spectral(samples, frames) if frames.has_speech else dict.fromkeys(_SPECTRAL)
    return Measurements(
        seconds=round(len(samples) / RATE, 3),
        speech_seconds=round(heard / RATE, 2),
        loudness_lufs=round(level, 2) if np.isfinite(level) else None,
        peak_dbfs=round(20 * float(np.log10(peak)), 2) if peak else None,
        clipped_share=round(clipped_share, 5),
        gaps=len(lengths),
        longest_gap_seconds=round(float(lengths.max(initial=0)) / RATE, 3),
        missing_share=round(gaps.missing_samples / whole, 4),
        repeated_share=round(gaps.repeated_samples / whole, 4),
        **spectral,
    )


_SPECTRAL = ("noise_floor_dbfs", "snr_db", "low_hz", "high_hz", "tilt_db_per_octave", "crest_db")


def _without(samples: NDArray[np.float32], gaps: Gaps) -> NDArray[np.float32]:
    """The clip with missing stretches cut out: silence of the line is no quiet voice."""
    kept = np.ones(len(samples), bool)
    for start, stop in gaps.missing:
        kept[start:stop] = False
    return samples[kept]


def _spectral(samples: NDArray[np.float32], frames: Frames) -> dict[str, float]:
    speech = frames.power[frames.active].mean(axis=0)
    floor = np.median(frames.floor[frames.active], axis=0)
    clean = np.maximum(speech - floor, 1e-3 * speech)
    weights = loudness_weights()
    filled = np.flatnonzero((speech > ABOVE_FLOOR * floor) & (clean > clean.max() * 10 ** (-AUDIBLE_DB / 10)))
    edges = band_edges()
    octaves = np.log2(band_centres())
    tilted = (band_centres() > TILT_HZ[0]) & (band_centres() < TILT_HZ[1])
    density = 10 * np.log10(clean / np.diff(edges))
    voice = np.abs(samples[np.repeat(frames.active, HOP)[: len(samples)]].astype(np.float64))
    rms = float(np.sqrt(np.square(voice).mean())) + 1e-9
    numbers = {
        "noise_floor_dbfs": 10 * np.log10(floor.sum()),
        "snr_db": 10 * np.log10(clean @ weights / (floor @ weights)),
        "low_hz": edges[filled[0]] if len(filled) else edges[0],
        "high_hz": edges[filled[-1] + 1] if len(filled) else edges[0],
        "tilt_db_per_octave": np.polyfit(octaves[tilted], density[tilted], 1)[0],
        "crest_db": 20 * np.log10((np.quantile(voice, 0.999) + 1e-9) / rms),
    }
    return {name: round(float(number), 2) for name, number in numbers.items()}
