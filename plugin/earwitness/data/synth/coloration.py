"""Changes of timbre: band limits, clipping and real codecs, each worse as severity grows from 0 to 1.

| kind | at s -> 0 | at s = 1 (geometric between, in Hz; linear, in dB) |
|---|---|---|
| muffled | low-pass at 5500 Hz | at 500 Hz |
| thin | high-pass at 120 Hz | at 2400 Hz |
| telephone | 100 to 5500 Hz; at s = 0.5 about 280 to 2870 Hz | 800 to 1500 Hz |
| clipped | 6 dB of drive into the clipper | 36 dB |
| coded | mp3, opus or amr-nb at a high rate, low-pass at 5500 Hz | at the lowest rate, at 1000 Hz |

They start where a change begins to be heard: speech has little above 5500 Hz and below 120 Hz.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from earwitness.data.synth.codecs import CODECS, round_trip
from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

KINDS = ("muffled", "thin", "telephone", "clipped", "coded")
CLIPPER_DRIVE_DB = (6.0, 36.0)  # above the level that clips one sample in a thousand

Gain = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Coloration:
    """One drawn coloration: an overloaded microphone, then a filter, then a codec; most kinds have one of them.

    Attributes:
        drive_db: into the clipper, 0 for none.
        gain: of the filter over frequency in Hz; None for none.
        codec: name of ``CODECS``; None for none.
        severity: 0..1.
    """

    severity: float
    drive_db: float = 0.0
    gain: Gain | None = None
    codec: str | None = None

    def overload(self, speech: Waveform) -> Waveform:
        """Hard clipping. Only of the voice: clipping noise as well would raise it in the pauses."""
        if not self.drive_db:
            return speech
        limit = float(np.quantile(np.abs(speech), 0.999)) * 10 ** (-self.drive_db / 20)
        return np.clip(speech, -limit, limit)

    def filter(self, sound: Waveform) -> Waveform:
        """Zero-phase filtering; the tail is padded so that nothing wraps round."""
        if self.gain is None:
            return sound
        size = next_fast_len(len(sound) + SAMPLING_RATE // 50, real=True)
        spectrum = rfft(sound, size) * self.gain(rfftfreq(size, 1 / SAMPLING_RATE))
        return irfft(spectrum, size)[: len(sound)].astype(np.float32)

    def code(self, sound: Waveform) -> Waveform:
        """Through the codec and back."""
        return sound if self.codec is None else round_trip(sound, self.codec, self.severity)


def draw(kind: str, severity: float, rng: np.random.Generator) -> Coloration:
    """A coloration of a kind of ``KINDS`` with its details drawn."""
    if kind == "muffled":
        return Coloration(severity, gain=_low_pass(_between(5500, 500, severity)))
    if kind == "thin":
        return Coloration(severity, gain=_high_pass(_between(120, 2400, severity)))
    if kind == "telephone":
        low, high = _high_pass(_between(100, 800, severity)), _low_pass(_between(5500, 1500, severity))
        return Coloration(severity, gain=lambda hz: low(hz) * high(hz))
    if kind == "clipped":
        return Coloration(severity, drive_db=float(np.interp(severity, (0, 1), CLIPPER_DRIVE_DB)))
    gain = _low_pass(_between(5500, 1000, severity))
    return Coloration(severity, gain=gain, codec=str(rng.choice(list(CODECS))))


def _between(start: float, end: float, severity: float) -> float:
    return start * (end / start) ** severity


def _low_pass(cutoff: float, order: int = 6) -> Gain:
    """Butterworth magnitude."""
    return lambda hz: 1 / np.sqrt(1 + (hz / cutoff) ** (2 * order))


def _high_pass(cutoff: float, order: int = 4) -> Gain:
    return lambda hz: 1 / np.sqrt(1 + (cutoff / np.maximum(hz, 1e-3)) ** (2 * order))
