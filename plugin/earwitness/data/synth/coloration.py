"""Changes of timbre: band limits, clipping and real codecs, each worse as severity grows from 0 to 1.

Severity maps (s in (0, 1]; geometric between the ends):

| kind | at s -> 0 | at s = 1 |
|---|---|---|
| muffled | low-pass at 7000 Hz | at 600 Hz |
| thin | high-pass at 80 Hz | at 2000 Hz |
| telephone | 60 to 7000 Hz; at s = 0.5 about 220 to 3240 Hz | 800 to 1500 Hz |
| clipped | 0 dB of drive into the clipper | 26 dB |
| coded | low-pass as muffled but to 1500 Hz, mp3 / opus / amr-nb at a high rate | at their lowest rates |
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from earwitness.data.synth.codecs import CODECS, round_trip
from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

Gain = Callable[[np.ndarray], np.ndarray]


def _geometric(start: float, end: float, severity: float) -> float:
    return start * (end / start) ** severity


def _filtered(speech: Waveform, gain: Gain) -> Waveform:
    """Zero-phase filtering by a gain over frequency; the tail is padded so that nothing wraps round."""
    size = next_fast_len(len(speech) + SAMPLING_RATE // 50, real=True)
    spectrum = rfft(speech, size) * gain(rfftfreq(size, 1 / SAMPLING_RATE))
    return irfft(spectrum, size)[: len(speech)].astype(np.float32)


def _low_pass(cutoff: float, order: int = 6) -> Gain:
    """Butterworth magnitude."""
    return lambda hz: 1 / np.sqrt(1 + (hz / cutoff) ** (2 * order))


def _high_pass(cutoff: float, order: int = 4) -> Gain:
    return lambda hz: 1 / np.sqrt(1 + (cutoff / np.maximum(hz, 1e-3)) ** (2 * order))


def muffled(speech: Waveform, severity: float, rng: np.random.Generator) -> Waveform:
    """Low-pass."""
    return _filtered(speech, _low_pass(_geometric(7000, 600, severity)))


def thin(speech: Waveform, severity: float, rng: np.random.Generator) -> Waveform:
    """High-pass."""
    return _filtered(speech, _high_pass(_geometric(80, 2000, severity)))


def telephone(speech: Waveform, severity: float, rng: np.random.Generator) -> Waveform:
    """Band-pass."""
    low, high = _high_pass(_geometric(60, 800, severity)), _low_pass(_geometric(7000, 1500, severity))
    return _filtered(speech, lambda hz: low(hz) * high(hz))


def clipped(speech: Waveform, severity: float, rng: np.random.Generator) -> Waveform:
    """Hard clipping, driven by up to 26 dB above the level that clips one sample in a thousand."""
    limit = float(np.quantile(np.abs(speech), 0.999)) * 10 ** (-26 * severity / 20)
    return np.clip(speech, -limit, limit)


def coded(speech: Waveform, severity: float, rng: np.random.Generator) -> Waveform:
    """A real codec behind the low-pass that goes with its bit rate."""
    codec = str(rng.choice(list(CODECS)))
    return round_trip(_filtered(speech, _low_pass(_geometric(7000, 1500, severity))), codec, severity)


KINDS: dict[str, Callable[[Waveform, float, np.random.Generator], Waveform]] = {
    "muffled": muffled,
    "thin": thin,
    "telephone": telephone,
    "clipped": clipped,
    "coded": coded,
}
