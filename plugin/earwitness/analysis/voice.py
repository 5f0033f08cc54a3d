"""Voice activity: which 10 ms frames of a clip hold speech, whatever the noise.

A statistical detector: the likelihood ratio of speech against noise in each band (Sohn, Kim and Sung 1999, with the
maximum-likelihood SNR), a noise floor that follows the quietest moments of its surroundings (after Martin 2001), and a
two-state hidden Markov model over the frames. Steady sounds are their own floor, so noise, hum and tones alone are no
speech; a clip has speech only where active frames are voiced as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import percentile_filter, uniform_filter1d

RATE = 16_000  # Hz, of every clip here
HOP = 160  # samples, 10 ms
WINDOW = 512  # samples, 32 ms
_FFT = 1024
_CHUNK = 4096  # frames at once, so that memory does not grow with the clip
BANDS = 32  # equally wide on the mel scale
LOWEST_HZ, HIGHEST_HZ = 60.0, 7800.0
PITCH_HZ = (70.0, 400.0)  # of voices

FLOOR_PERCENTILE = 10
SMOOTH_FRAMES = 5  # before the percentile is taken
FLOOR_FRAMES = 401  # the surroundings of a frame: 4 s
SILENCE_POWER = 1e-10  # per band; -100 dB: below it 16 bits hold nothing
LIKELIHOOD_THRESHOLD = 0.75  # mean log likelihood ratio of the bands from which on speech is likelier than noise
LIKELIHOOD_WIDTH = 0.15
STAY = 0.97  # probability that the next frame is as this one: stretches of 0.3 s
VOICED = 0.55  # periodicity of a voiced frame, 0 to 1
LEAST_VOICED_S = 0.06


@dataclass(frozen=True)
class Frames:
    """A clip in frames of 10 ms.

    Attributes:
        power: in each band, (frames, BANDS), of full scale 1.0.
        floor: of the noise in each band, (frames, BANDS); the floor of the quietest moments around a frame.
        periodicity: highest normalised autocorrelation at the lags of a voice, (frames,), 0 to 1.
        active: whether speech is heard, (frames,).
    """

    power: NDArray[np.float64]
    floor: NDArray[np.float64]
    periodicity: NDArray[np.float64]
    active: NDArray[np.bool_]

    @property
    def voiced_seconds(self) -> float:
        """How long voiced speech is heard."""
        return float(np.count_nonzero(self.active & (self.periodicity > VOICED)) * HOP / RATE)

    @property
    def has_speech(self) -> bool:
        """Whether there is a voice at all."""
        return self.voiced_seconds >= LEAST_VOICED_S


@cache
def band_edges() -> NDArray[np.float64]:
    """Edges of the bands in Hz, (BANDS + 1,)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    return 700 * (10 ** (np.linspace(low, high, BANDS + 1) / 2595) - 1)


@cache
def band_centres() -> NDArray[np.float64]:
    """Geometric centres of the bands in Hz, (BANDS,)."""
    edges = band_edges()
    return np.sqrt(edges[1:] * edges[:-1])


@cache
def _bands() -> NDArray[np.float64]:
    """Share of each FFT bin in each band, (bins, BANDS)."""
    edges = band_edges()
    bins = np.arange(_FFT // 2 + 1) * RATE / _FFT
    width = RATE / _FFT
    low = np.maximum(edges[None, :-1], bins[:, None] - width / 2)
    high = np.minimum(edges[None, 1:], bins[:, None] + width / 2)
    return np.clip(high - low, 0, None) / width


def analyse(samples: NDArray[np.float32], lost: NDArray[np.bool_] | None = None) -> Frames:
    """Find the speech of a clip.

    Args:
        samples: (n,), 16 kHz, full scale 1.0.
        lost: (frames,), frames without sound that are no pause (see ``gaps``); they count neither for the floor nor
            as speech.
    """
    power, periodicity = _band_power(samples)
    power += SILENCE_POWER
    floor = _floor(power, lost)
    active = _speech(power, floor)
    if lost is not None:
        active &= ~lost
    return Frames(power, floor, periodicity, active)


def _band_power(samples: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power in each band and periodicity of every frame."""
    count = frame_count(len(samples))
    padded = np.pad(samples.astype(np.float64), (WINDOW // 2, WINDOW))
    window = np.hanning(WINDOW + 1)[:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, _FFT)) ** 2)
    lags = np.arange(round(RATE / PITCH_HZ[1]), round(RATE / PITCH_HZ[0]))
    correction = own[0] / own[lags]
    power = np.empty((count, BANDS))
    periodicity = np.empty(count)
    views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    for start in range(0, count, _CHUNK):
        spectrum = np.abs(np.fft.rfft(views[start : start + _CHUNK] * window, _FFT)) ** 2
        place = slice(start, start + len(spectrum))
        power[place] = spectrum @ _bands() * (2 / (_FFT * np.square(window).sum()))
        correlation = np.fft.irfft(spectrum)
        best = (correlation[:, lags] * correction).max(axis=1)
        periodicity[place] = np.clip(best / np.maximum(correlation[:, 0], 1e-12), 0, 1)
    return power, periodicity


def frame_count(samples: int) -> int:
    """How many frames a clip has."""
    return max(1, -(-samples // HOP))


def _floor(power: NDArray[np.float64], lost: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    smooth = uniform_filter1d(power, SMOOTH_FRAMES, axis=0, mode="nearest")
    if lost is not None and lost.any() and not lost.all():
        near = uniform_filter1d(lost.astype(float), 9) > 1e-9
        kept = np.flatnonzero(~near) if not near.all() else np.flatnonzero(~lost)
        smooth = smooth[kept]
    else:
        kept = np.arange(len(power))
    size = min(FLOOR_FRAMES, len(kept))
    floor = percentile_filter(smooth, FLOOR_PERCENTILE, size=(size, 1), mode="nearest") * _bias()
    nearest = np.clip(np.searchsorted(kept, np.arange(len(power))), 0, len(kept) - 1)
    return floor[nearest]


@cache
def _bias() -> NDArray[np.float64]:
    """Mean power of steady noise over the percentile that finds it, (BANDS,), measured on white noise."""
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    power = _band_power(noise)[0]
    smooth = uniform_filter1d(power, SMOOTH_FRAMES, axis=0, mode="nearest")
    return power.mean(axis=0) / np.percentile(smooth, FLOOR_PERCENTILE, axis=0)


def _speech(power: NDArray[np.float64], floor: NDArray[np.float64]) -> NDArray[np.bool_]:
    ratio = np.maximum(uniform_filter1d(power, 3, axis=0, mode="nearest") / floor, 1.0)
    likelihood = np.minimum(ratio - 1 - np.log(ratio), 30.0).mean(axis=1) ** 0.5
    odds = (likelihood - LIKELIHOOD_THRESHOLD) / LIKELIHOOD_WIDTH
    speech = 1 / (1 + np.exp(-np.clip(odds, -20, 20)))
    emission = np.stack([1 - speech, speech], axis=1) + 1e-6
    change = np.array([[STAY, 1 - STAY], [1 - STAY, STAY]])
    forward = _pass(emission, change)
    backward = _pass(emission[::-1], change)[::-1]
    both = forward * backward / emission
    return both[:, 1] > both[:, 0]


def _pass(emission: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised forward probabilities of a two-state chain."""
    result = np.empty_like(emission)
    state = np.array([0.5, 0.5])
    for frame, seen in enumerate(emission):
        state = (state @ change) * seen if frame else state * seen
        state = state / state.sum()
        result[frame] = state
    return result
