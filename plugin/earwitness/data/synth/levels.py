"""Loudness by ITU-R BS.1770-4, for mono float waveforms."""

from __future__ import annotations

from functools import cache
from math import pi, tan

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

Waveform = NDArray[np.float32]

SAMPLING_RATE = 16_000  # Hz, of every waveform in this package
STEP_S, STEPS_A_BLOCK = 0.1, 4  # gating blocks of 0.4 s that overlap by three quarters
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU below the mean of the blocks above the absolute gate
_OFFSET = -0.691  # dB; a 997 Hz sine of full scale reads -3.01 LUFS


@cache
def _k_weighting(sampling_rate: int) -> NDArray[np.float64]:
    """The two biquads of BS.1770-4 Annex 1, (2, 6), moved from 48 kHz by the bilinear transform."""
    k = tan(pi * 1681.974450955533 / sampling_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k, a0, 2 * (k * k - 1)]
    shelf = [value / a0 for value in [*shelf, 1 - k / q + k * k]]
    k = tan(pi * 38.13547087602444 / sampling_rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, high_pass])


def k_power(waveform: Waveform, sampling_rate: int = SAMPLING_RATE) -> NDArray[np.float64]:
    """Squared K-weighted samples, (samples,)."""
    if not len(waveform):
        return np.zeros(0)
    weighted = sosfilt(_k_weighting(sampling_rate), waveform)
    return np.square(weighted)


def loudness(waveform: Waveform, sampling_rate: int = SAMPLING_RATE) -> float:
    """Integrated gated loudness in LUFS; ``-inf`` for silence below the absolute gate.

    A clip shorter than one 0.4 s block is measured as one block.
    """
    power = k_power(waveform, sampling_rate)
    step = round(STEP_S * sampling_rate)
    steps = len(power) // step
    if steps <= STEPS_A_BLOCK:
        means = np.array([power.mean() if len(power) else 0.0])
    else:
        sums = power[: steps * step].reshape(steps, step).sum(axis=1)
        means = np.convolve(sums, np.ones(STEPS_A_BLOCK), "valid") / (STEPS_A_BLOCK * step)
    means = means[means > 10 ** ((ABSOLUTE_GATE - _OFFSET) / 10)]
    if not len(means):
        return float("-inf")
    gate = means.mean() * 10 ** (RELATIVE_GATE / 10)
    return float(_OFFSET + 10 * np.log10(means[means > gate].mean()))


def noise_loudness(waveform: Waveform, sampling_rate: int = SAMPLING_RATE) -> float:
    """Ungated loudness in LUFS of a steady sound."""
    return float(_OFFSET + 10 * np.log10(max(float(k_power(waveform, sampling_rate).mean()), 1e-20)))


def at_loudness(waveform: Waveform, lufs: float, sampling_rate: int = SAMPLING_RATE) -> Waveform:
    """The waveform scaled to an integrated loudness; silence stays silence."""
    present = loudness(waveform, sampling_rate)
    if not np.isfinite(present):
        return waveform
    return (waveform * 10 ** ((lufs - present) / 20)).astype(np.float32)
