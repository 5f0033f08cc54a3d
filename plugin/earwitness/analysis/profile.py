"""A clip as a fixed list of numbers about its noise and its timbre; what they mean is learnt (``fit``)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.voice import BANDS, HOP, RATE, Frames, band_centres
from earwitness.data.synth.levels import k_power

GROUPS = 8  # of bands, from low to high
_LEVELS = (2, 5, 10, 25, 50, 75, 90)  # percentiles of the frame levels, against the 95th
_PERIODICITY = (10, 50, 75, 90, 97)
_LEAST_FRAMES = 5
_SPECTRA = ("range", "wide range", "speech", "speech without floor", "floor", "loud")
NAMES = (
    *(f"level p95 over p{percentile}" for percentile in _LEVELS),
    *("speech over p10", "speech over p3"),
    *(f"{spectrum} {group}" for spectrum in _SPECTRA for group in range(GROUPS)),
    *(f"periodicity p{percentile}" for percentile in _PERIODICITY),
    *("q99.9 over rms", "q99 over rms", "q99 over q90", "q90 over q50", "kurtosis", "near peak"),
    *("frame crest", "peak spread", "floor flatness", "speech flatness"),
)
"""What each number is; levels and ratios in dB, periodicity 0 to 1, kurtosis and share near the peak as logarithms."""


@cache
def loudness_weights() -> NDArray[np.float64]:
    """Power gain of BS.1770's K-weighting for a tone at the centre of each band, (BANDS,)."""
    seconds = np.arange(RATE) / RATE
    tones = (np.sin(2 * np.pi * hz * seconds).astype(np.float32) for hz in band_centres())
    return np.array([2 * k_power(tone)[RATE // 2 :].mean() for tone in tones])


def profile(samples: NDArray[np.float32], frames: Frames, lost: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Describe noise and timbre of a clip; lost sound and the overall level do not enter.

    Args:
        samples: (n,), 16 kHz.
        frames: of ``voice.analyse``; must hold active frames.
        lost: (frames,), missing sound; frames beside it do not count either.

    Returns:
        (len(NAMES),), finite.
    """
    near = np.convolve(lost, np.ones(5), "same") > 0
    kept = ~near if np.count_nonzero(~near & frames.active) >= _LEAST_FRAMES else ~lost
    active = frames.active & kept
    power = frames.power[kept]
    loud = _db(power @ loudness_weights())
    low3, low10, high75, high90, high97 = np.percentile(power, (3, 10, 75, 90, 97), axis=0)
    speech = frames.power[active].mean(axis=0)
    clean = np.maximum(speech - low10, 0.02 * speech)
    weights = loudness_weights()
    numbers = [
        *(np.percentile(loud, 95) - np.percentile(loud, _LEVELS)),
        _db(clean @ weights) - _db(low10 @ weights),
        _db(speech @ weights) - _db(low3 @ weights),
        *_grouped(_db(high90) - _db(low10)).mean(axis=1),
        *_grouped(_db(high75) - _db(low3)).mean(axis=1),
        *(share for spectrum in (speech, clean, low10, high97) for share in _shares(spectrum)),
        *np.percentile(frames.periodicity[active], _PERIODICITY),
        *_amplitudes(samples[np.repeat(active, HOP)[: len(samples)]].astype(np.float64)),
        *_peaks(samples.astype(np.float64)),
        _db(low10).mean() - _db(low10.mean()),
        _db(speech).mean() - _db(speech.mean()),
    ]
    return np.array(numbers, np.float64)


def _db(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(power)


def _grouped(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    return bands.reshape(GROUPS, BANDS // GROUPS)


def _shares(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    return _db(_grouped(spectrum).sum(axis=1) / spectrum.sum())


def _amplitudes(samples: NDArray[np.float64]) -> list[float]:
    """How the amplitudes of speech are distributed: clipping fills their top."""
    magnitudes = np.abs(samples)
    power = np.square(samples)
    q50, q90, q99, q999 = np.quantile(magnitudes, (0.5, 0.9, 0.99, 0.999)) + 1e-6
    rms = np.sqrt(power.mean()) + 1e-6
    ratios = 20 * np.log10([q999 / rms, q99 / rms, q99 / q90, q90 / q50])
    kurtosis = np.log(np.square(power).mean() / rms**4 + 1e-6)
    return [*ratios, kurtosis, np.log(1e-4 + float((magnitudes > 0.85 * q999).mean()))]


def _peaks(samples: NDArray[np.float64]) -> list[float]:
    """Peaks of the loudest 20 ms frames over their RMS, and how much the peaks differ."""
    size = 2 * HOP
    count = max(1, len(samples) // size)
    blocks = np.resize(samples, (count, size)) if len(samples) < size else samples[: count * size].reshape(count, size)
    rms = np.sqrt(np.square(blocks).mean(axis=1))
    loudest = rms >= np.quantile(rms, 0.7)
    peaks = 20 * np.log10(np.abs(blocks[loudest]).max(axis=1) + 1e-6)
    return [float((peaks - 20 * np.log10(rms[loudest] + 1e-6)).mean()), float(peaks.std())]
