"""A channel vocoder (Dudley 1939): speech taken apart into pitch and spectral envelope, and made anew from both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import istft, stft

from earwitness.data.synth.levels import SAMPLING_RATE, Waveform

HOP = 128  # samples, 8 ms
WINDOW = 512  # samples, 32 ms
PITCH_HZ = (70.0, 400.0)
VOICED = 0.5  # normalised autocorrelation from which on a frame is voiced
BREATH = 0.1  # noise in the voice, against its pulses


def resynthesise(speech: Waveform, bands: int, rng: np.random.Generator) -> Waveform:
    """Make speech anew from its pitch and the envelope of its spectrum.

    Args:
        speech: (n,), 16 kHz.
        bands: of the envelope, equally wide on the mel scale; fewer sound coarser.
        rng: draws the noise of unvoiced sounds.

    Returns:
        (n,), at the power of the input.
    """
    target = _spectrum(speech)
    excitation = _spectrum(_excitation(speech, rng))
    groups = _groups(bands, target.shape[0])
    gain = np.sqrt(_smooth(np.abs(target) ** 2, groups) / np.maximum(_smooth(np.abs(excitation) ** 2, groups), 1e-12))
    made = istft(excitation * gain, SAMPLING_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[1]
    made = np.resize(made, len(speech)) if len(made) < len(speech) else made[: len(speech)]
    power = float(np.square(speech, dtype=np.float64).mean()) / max(float(np.square(made).mean()), 1e-20)
    return (made * np.sqrt(power)).astype(np.float32)


def _spectrum(sound: NDArray) -> NDArray[np.complex128]:
    return stft(sound.astype(np.float64), SAMPLING_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]


def _groups(bands: int, bins: int) -> NDArray[np.int64]:
    """The band of each bin, (bins,)."""
    hz = np.arange(bins) * SAMPLING_RATE / WINDOW
    mel = 2595 * np.log10(1 + hz / 700)
    return np.minimum((mel / mel[-1] * bands).astype(np.int64), bands - 1)


def _smooth(power: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each bin gets the mean of its band, (bins, frames)."""
    count = np.bincount(groups)
    total = np.zeros((len(count), power.shape[1]))
    np.add.at(total, groups, power)
    return (total / np.maximum(count, 1)[:, None])[groups]


def _excitation(speech: Waveform, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pulses at the pitch of voiced frames, noise elsewhere, (n,)."""
    pitch = np.repeat(_pitch(speech), HOP)[: len(speech)]
    pitch = np.pad(pitch, (0, len(speech) - len(pitch)), mode="edge")
    turns = np.floor(np.cumsum(pitch / SAMPLING_RATE))
    pulses = np.diff(turns, prepend=0) * np.sqrt(SAMPLING_RATE / np.maximum(pitch, PITCH_HZ[0]))
    noise = rng.standard_normal(len(speech))
    return np.where(pitch > 0, pulses + BREATH * noise, noise)


def _pitch(speech: Waveform) -> NDArray[np.float64]:
    """Pitch of each frame in Hz, 0 where unvoiced, (frames,)."""
    views = np.lib.stride_tricks.sliding_window_view(np.pad(speech, WINDOW // 2), WINDOW)[::HOP]
    window = np.hanning(WINDOW)
    spectrum = np.abs(np.fft.rfft(views * window, 2 * WINDOW)) ** 2
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * WINDOW)) ** 2)
    lags = np.arange(round(SAMPLING_RATE / PITCH_HZ[1]), round(SAMPLING_RATE / PITCH_HZ[0]))
    correlation = np.fft.irfft(spectrum)
    likeness = correlation[:, lags] / np.maximum(correlation[:, :1], 1e-12) * (own[0] / own[lags])
    best = likeness.argmax(axis=1)
    return np.where(likeness.max(axis=1) > VOICED, SAMPLING_RATE / lags[best], 0.0)
