"""Degrade speech at known severities of noise, coloration, discontinuity and loudness.

The chain follows a call: a room (noise), microphone and codec (coloration), a network (discontinuity), a volume
control (loudness). The order and the levels keep the four apart for a listener:

* the SNR is set behind the filter of the coloration, between what is left of speech and of noise: a low-pass cannot
  hide the noise. Noise passes the filter as the speech does, so it cannot hide the low-pass either: hiss behind the
  filter would mask what the filter took, and nobody could say how much that was;
* the level is restored to nominal after coloration and after noise, so neither changes the loudness;
* packets are lost with speech and noise in them, while speech is heard, so a gap is heard at any SNR; level and
  noise outside the gaps stay as they are;
* the gain comes last, so loudness changes neither the SNR nor the timbre.

Severity maps, s in 0..1, where 0 leaves the sound untouched:

| aspect | s -> 0 | s = 1 |
|---|---|---|
| noise | SNR 45 dB | SNR -5 dB, linear in s; both by BS.1770 loudness, so that kinds of noise compare |
| coloration | see ``coloration`` | |
| discontinuity | none of the active speech time lost | 50 % lost, linear in s |
| loudness | nominal | 30 dB below nominal, linear in s |

``overall`` is the root mean square of the four.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
from scipy.ndimage import minimum_filter1d

from earwitness.data.synth import coloration, noise
from earwitness.data.synth.coloration import Coloration
from earwitness.data.synth.levels import SAMPLING_RATE, Waveform, at_loudness, noise_loudness

NOMINAL_LUFS = -23.0
NOISE_SNR_DB = (45.0, -5.0)
LOST_SHARE = 0.5
QUIETEST_DB = -30.0
GAP_S = {"dropouts": (0.04, 0.1), "stutter": (0.05, 0.1)}  # one gap of silence
DROPOUT_PROBABILITY = 0.6  # otherwise stutter
PACKET_S = (0.03, 0.05)  # what a stutter repeats
EDGE_S = 0.0025  # over which sound goes and comes: a click would fill the band that a coloration emptied


@dataclass(frozen=True)
class Severities:
    """How bad a clip is in each aspect, 0 (untouched) to 1."""

    noise: float = 0.0
    coloration: float = 0.0
    discontinuity: float = 0.0
    loudness: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ValueError(f"severity of {field.name} is {getattr(self, field.name)}, allowed: 0 to 1")

    @property
    def overall(self) -> float:
        """Root mean square of the four: every aspect counts, the worst most."""
        return float(np.sqrt(np.mean(np.square(list(asdict(self).values())))))


@dataclass(frozen=True)
class Degraded:
    """A degraded clip and what was done to it: ``causes`` maps each aspect with a severity above 0 to its kind."""

    waveform: Waveform
    causes: dict[str, str]


def degrade(
    speech: Waveform, severities: Severities, rng: np.random.Generator, nominal_lufs: float = NOMINAL_LUFS
) -> Degraded:
    """Degrade a recording, synthetic or real.

    Args:
        speech: (samples,), 16 kHz, any level; it is brought to ``nominal_lufs`` first.
        severities: of the four aspects, independent of one another.
        rng: draws kinds and details. Each aspect draws from a stream of its own: with the same state, a change of
            one severity changes nothing of the others.
        nominal_lufs: integrated loudness at loudness severity 0.

    Returns:
        The waveform, as long as given, float32, and the causes.
    """
    streams = dict(zip(("noise", "coloration", "discontinuity", "loudness"), rng.spawn(4), strict=True))
    causes: dict[str, str] = {}
    sound = at_loudness(np.asarray(speech, np.float32), nominal_lufs)
    color = Coloration(0)
    if severities.coloration:
        causes["coloration"] = kind = str(streams["coloration"].choice(coloration.KINDS))
        color = coloration.draw(kind, severities.coloration, streams["coloration"])
    sound = at_loudness(color.filter(color.overload(sound)), nominal_lufs)
    active = active_samples(sound)
    if severities.noise:
        causes["noise"] = kind = str(streams["noise"].choice(list(noise.KINDS)))
        background = color.filter(noise.background(kind, sound, streams["noise"]))
        sound = sound + _at_snr(background, severities.noise, nominal_lufs)
    sound = at_loudness(color.code(sound), nominal_lufs)
    if severities.discontinuity:
        kind = "dropouts" if streams["discontinuity"].random() < DROPOUT_PROBABILITY else "stutter"
        causes["discontinuity"] = kind
        sound = _interrupted(sound, active, kind, severities.discontinuity, streams["discontinuity"])
    if severities.loudness:
        causes["loudness"] = "too quiet"
        sound = sound * np.float32(10 ** (QUIETEST_DB * severities.loudness / 20))
    return Degraded(sound, causes)


def snr_db(severity: float) -> float:
    """Speech loudness over noise loudness, in dB, at a noise severity above 0."""
    return NOISE_SNR_DB[0] + (NOISE_SNR_DB[1] - NOISE_SNR_DB[0]) * severity


def _at_snr(background: Waveform, severity: float, speech_lufs: float) -> Waveform:
    gain = speech_lufs - snr_db(severity) - noise_loudness(background)
    return (background * 10 ** (gain / 20)).astype(np.float32)


def active_samples(speech: Waveform, below_peak_db: float = 30.0) -> np.ndarray:
    """Indices of the samples in 10 ms frames whose power is within 30 dB of the loudest frame."""
    frame = SAMPLING_RATE // 100
    frames = len(speech) // frame
    power = np.square(speech[: frames * frame].reshape(frames, frame)).mean(axis=1)
    return np.flatnonzero(np.repeat(power > power.max(initial=0) * 10 ** (-below_peak_db / 10), frame))


def _interrupted(sound: Waveform, active: np.ndarray, kind: str, severity: float, rng: np.random.Generator) -> Waveform:
    """Lose ``LOST_SHARE * severity`` of the active samples: silence, in a stutter followed by the last packet again."""
    lost = round(LOST_SHARE * severity * len(active))
    if not lost:
        return sound
    count = max(1, round(lost / SAMPLING_RATE / rng.uniform(*GAP_S[kind])))
    lengths = np.diff(np.round(np.linspace(0, lost, count + 1)).astype(int))
    # The kept time is cut at random places into the stretches before, between and after the gaps.
    cuts = np.sort(rng.integers(0, len(active) - lost + 1, count))
    starts = cuts + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    heard, repeated = np.ones(len(sound), np.float32), np.zeros(len(sound), np.float32)
    copy = sound.copy()
    for start, length in zip(starts, lengths, strict=True):
        places = active[start : start + length]
        heard[places] = repeated[places] = 0
        if kind == "stutter":  # the packet before the hole is heard again after it
            after = int(places[-1]) + 1
            again = sound[max(0, int(places[0]) - round(rng.uniform(*PACKET_S) * SAMPLING_RATE)) : int(places[0])]
            again = again[: len(sound) - after]
            copy[after : after + len(again)] = again
            heard[after : after + len(again)], repeated[after : after + len(again)] = 0, 1
    return sound * _faded(heard) + copy * _faded(repeated)


def _faded(gate: np.ndarray) -> np.ndarray:
    """A gate of zeros and ones that closes over ``EDGE_S`` before each run of zeros and opens so after it."""
    half = round(EDGE_S * SAMPLING_RATE / 2)
    ahead = minimum_filter1d(gate, 2 * half + 1, mode="nearest")
    ramp = np.full(2 * half + 1, 1 / (2 * half + 1), np.float32)
    return np.convolve(np.pad(ahead, half, "edge"), ramp, "valid")
