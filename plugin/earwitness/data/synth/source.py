"""What a clean recording has and a synthesiser has not: silence around it, a room, a microphone, a background floor."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform, at_loudness, noise_loudness

FLOOR_DB = (-72.0, -53.0)  # background floor below the speech, in LU: below what the noise aspect starts with
BREATH_DB = (-45.0, -20.0)  # noise that swells and fades with the voice, against it
SILENCE_S = (-0.08, 0.3)  # before, and again after the speech; none where negative: clips are cut anywhere
SPEECH_S = (0.9, 1.7)  # at most, of each recording: a training step costs by the second, and pauses cut speech anywhere
TILT_DB = 1.5  # at most this many dB an octave around 1 kHz, up or down
PEAK_DB = 3.0  # at most, of each of two broad equaliser bands
ROOM_PROBABILITY = 0.7
ROOM_RT60_S = (0.1, 0.5)
ROOM_DIRECT_DB = (6.0, 20.0)  # direct sound above the reverberation
REFERENCE_LUFS = -23.0


def record(speech: Waveform, rng: np.random.Generator, speech_seconds: tuple[float, float] = SPEECH_S) -> Waveform:
    """A clean but plausible recording of dry synthetic speech, at ``REFERENCE_LUFS``.

    None of this counts as a degradation: floor, room and equalisation stay below the least severity of any aspect
    that a question is asked about, and they vary alike at every severity, so they tell nothing about the labels.

    Args:
        speech: dry speech, (samples,), 16 kHz.
        rng: the draws; the same state gives the same recording.
        speech_seconds: between how much and how much of the speech is kept, where there is as much.
    """
    speech = _excerpt(speech, rng.uniform(*speech_seconds), rng)
    lead, trail = (max(0, round(seconds * SAMPLING_RATE)) for seconds in rng.uniform(*SILENCE_S, 2))
    padded = np.pad(speech + _breath(speech, rng), (lead, trail))
    size = next_fast_len(len(padded) + round(ROOM_RT60_S[1] * SAMPLING_RATE), real=True)
    frequencies = rfftfreq(size, 1 / SAMPLING_RATE)
    spectrum = rfft(padded, size) * _microphone(frequencies, rng)
    if rng.random() < ROOM_PROBABILITY:
        spectrum *= rfft(_room(rng), size)
    recorded = at_loudness(irfft(spectrum, size)[: len(padded)].astype(np.float32), REFERENCE_LUFS)
    return recorded + _floor(len(recorded), rng)


def _excerpt(speech: Waveform, seconds: float, rng: np.random.Generator) -> Waveform:
    """A stretch of the speech with 10 ms fades, or all of it where it is short."""
    length = round(seconds * SAMPLING_RATE)
    start = round(rng.random() * max(0, len(speech) - length))
    excerpt = speech[start : start + length].copy()
    fade = np.linspace(0, 1, SAMPLING_RATE // 100, dtype=np.float32)
    excerpt[: len(fade)] *= fade
    excerpt[-len(fade) :] *= fade[::-1]
    return excerpt


def _breath(speech: Waveform, rng: np.random.Generator) -> Waveform:
    """White noise under the envelope of the voice: a synthesiser's harmonics have nothing between them."""
    frame = SAMPLING_RATE // 100
    power = np.square(np.pad(speech, (0, -len(speech) % frame)).reshape(-1, frame)).mean(axis=1)
    envelope = np.sqrt(np.convolve(power, np.ones(3) / 3, "same"))
    swell = np.interp(np.arange(len(speech)), np.arange(len(envelope)) * frame, envelope)
    noise = rng.standard_normal(len(speech), np.float32)
    return (10 ** (rng.uniform(*BREATH_DB) / 20) * swell * noise).astype(np.float32)


def _microphone(frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    octaves = np.log2(np.clip(frequencies, 60, None) / 1000)
    decibels = rng.uniform(-TILT_DB, TILT_DB) * octaves
    for centre in rng.uniform(-3.0, 3.0, 2):  # octaves around 1 kHz
        decibels += rng.uniform(-PEAK_DB, PEAK_DB) * np.exp(-0.5 * np.square((octaves - centre) / 0.7))
    return 10 ** (decibels / 20)


def _room(rng: np.random.Generator) -> np.ndarray:
    """An impulse response: the direct sound and exponentially decaying noise after 2 ms."""
    rt60 = rng.uniform(*ROOM_RT60_S)
    response = rng.standard_normal(round(rt60 * SAMPLING_RATE))
    response *= 10 ** (-3 * np.arange(len(response)) / len(response))
    response[: round(0.002 * SAMPLING_RATE)] = 0
    response *= 10 ** (-rng.uniform(*ROOM_DIRECT_DB) / 20) / np.sqrt(np.square(response).sum())
    response[0] = 1
    return response


def _floor(samples: int, rng: np.random.Generator) -> Waveform:
    """Stationary noise between white and brown."""
    size = next_fast_len(samples, real=True)
    spectrum = rfft(rng.standard_normal(size))
    spectrum *= np.clip(rfftfreq(size, 1 / SAMPLING_RATE), 50, None) ** -rng.uniform(0, 1)
    noise = irfft(spectrum, size)[:samples].astype(np.float32)
    level = REFERENCE_LUFS + rng.uniform(*FLOOR_DB)
    return (noise * 10 ** ((level - noise_loudness(noise)) / 20)).astype(np.float32)
