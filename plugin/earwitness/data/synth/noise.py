"""Background noises, each to be scaled by the caller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

LOWEST_HZ = 100.0  # below it noise costs level, is hardly heard, and codecs take it away


def _shaped(samples: int, rng: np.random.Generator, gain: Callable[[np.ndarray], np.ndarray]) -> Waveform:
    """Gaussian noise with the spectrum ``gain(frequencies)``."""
    size = next_fast_len(samples, real=True)
    frequencies = rfftfreq(size, 1 / SAMPLING_RATE)
    spectrum = rfft(rng.standard_normal(size, np.float32)) * gain(np.clip(frequencies, LOWEST_HZ, None))
    spectrum[frequencies < LOWEST_HZ] = 0
    return irfft(spectrum, size)[:samples].astype(np.float32)


def white(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Equal power at every frequency."""
    return _shaped(len(speech), rng, np.ones_like)


def pink(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Power falls by 3 dB an octave."""
    return _shaped(len(speech), rng, lambda hz: hz**-0.5)


def brown(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Power falls by 6 dB an octave: rumble, traffic."""
    return _shaped(len(speech), rng, lambda hz: hz**-1.0)


def hiss(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """A broad random band, as of an amplifier or a fan."""
    centre, width = rng.uniform(-1.5, 2.5), rng.uniform(0.6, 1.5)  # octaves around 1 kHz
    return _shaped(len(speech), rng, lambda hz: np.exp(-0.5 * np.square((np.log2(hz / 1000) - centre) / width)) + 0.03)


def hum(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Mains hum, 50 or 60 Hz with harmonics, over a little pink noise."""
    mains, decay = rng.choice([50.0, 60.0]), rng.uniform(0.3, 0.9)
    turn = np.exp(2j * np.pi * mains / SAMPLING_RATE * np.arange(len(speech)))  # the fundamental, one turn a cycle
    harmonics = np.arange(2, 16)
    weights = harmonics**-decay * np.exp(2j * np.pi * rng.random(len(harmonics)))
    tone = np.polynomial.polynomial.polyval(turn, np.concatenate([[0, 0], weights])).imag
    rest = pink(speech, rng)
    return (tone / tone.std() + 0.2 * rest / rest.std()).astype(np.float32)


def babble(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Voices: copies of the speech, backwards, at other speeds and pitches, from random places, summed."""
    total = np.zeros(len(speech))
    positions = np.arange(len(speech))
    backwards = speech[::-1]
    for speed in rng.uniform(0.75, 1.3, 6):
        start = rng.integers(len(speech))
        total += rng.uniform(0.5, 1) * np.take(backwards, np.asarray(positions * speed + start, np.int64), mode="wrap")
    rest = pink(speech, rng)
    return (total / max(total.std(), 1e-9) + 0.3 * rest / rest.std()).astype(np.float32)


KINDS: dict[str, Callable[[Waveform, np.random.Generator], Waveform]] = {
    "white noise": white,
    "pink noise": pink,
    "rumble": brown,
    "hiss": hiss,
    "hum": hum,
    "babble": babble,
}


def background(kind: str, speech: Waveform, rng: np.random.Generator) -> Waveform:
    """Noise of a kind of ``KINDS`` as long as the speech, its level swelling slowly by a few dB; not scaled."""
    noise = KINDS[kind](speech, rng)
    knots = rng.uniform(-3, 3, 2 + len(speech) // SAMPLING_RATE)  # dB, about one a second
    swell = np.interp(np.linspace(0, 1, len(speech)), np.linspace(0, 1, len(knots)), knots)
    return (noise * 10 ** (swell / 20)).astype(np.float32)
