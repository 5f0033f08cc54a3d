"""Changes of timbre: a narrower band, alone or with what narrow bands come with, worse as severity grows from 0 to 1.

Every kind loses the treble alike, from a cutoff of 5500 Hz (s -> 0) to 500 Hz (s = 1), geometric between: speech has
little above 5500 Hz, so this is where a change begins to be heard. On top of it comes

| kind | at s -> 0 | at s = 1 |
|---|---|---|
| muffled | nothing | |
| telephone | high-pass at 100 Hz | at 300 Hz, geometric between |
| clipped | 6 dB of drive into the clipper | 24 dB, linear between |
| coded | mp3 or opus at a high rate; amr-nb where the cutoff lies within its band | at the lowest rate |

The common cutoff makes severities of different kinds comparable, as those of the other aspects are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from earwitness.data.synth.codecs import CODECS, round_trip
from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

KINDS = ("muffled", "telephone", "clipped", "coded")
CUTOFF_HZ = (5500.0, 500.0)
TELEPHONE_LOW_HZ = (100.0, 300.0)
CLIPPER_DRIVE_DB = (6.0, 24.0)  # above the level that clips one sample in a thousand

Gain = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Coloration:
    """One drawn coloration: an overloaded microphone, then a filter, then a codec.

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
        """Through the codec and back; the noise that it adds beyond the band is filtered as well."""
        return sound if self.codec is None else self.filter(round_trip(sound, self.codec, self.severity))


def draw(kind: str, severity: float, rng: np.random.Generator) -> Coloration:
    """A coloration of a kind of ``KINDS`` with its details drawn."""
    low_pass = _low_pass(_between(*CUTOFF_HZ, severity))
    if kind == "telephone":
        high_pass = _high_pass(_between(*TELEPHONE_LOW_HZ, severity))
        return Coloration(severity, gain=lambda hz: high_pass(hz) * low_pass(hz))
    if kind == "clipped":
        return Coloration(severity, drive_db=float(np.interp(severity, (0, 1), CLIPPER_DRIVE_DB)), gain=low_pass)
    if kind == "coded":
        names = [name for name, codec in CODECS.items() if _between(*CUTOFF_HZ, severity) < codec.rate / 2]
        return Coloration(severity, gain=low_pass, codec=str(rng.choice(names)))
    return Coloration(severity, gain=low_pass)


def _between(start: float, end: float, severity: float) -> float:
    return start * (end / start) ** severity


def _low_pass(cutoff: float, order: int = 6) -> Gain:
    """Butterworth magnitude."""
    return lambda hz: 1 / np.sqrt(1 + (hz / cutoff) ** (2 * order))


def _high_pass(cutoff: float, order: int = 4) -> Gain:
    return lambda hz: 1 / np.sqrt(1 + (cutoff / np.maximum(hz, 1e-3)) ** (2 * order))
