"""The engine ``signal``: measures a clip and rates it with weights fitted on synthetic degradations.

Noise and coloration are a linear function of ``profile`` and its squares, discontinuity of the shares of missing and
repeated sound, loudness of the integrated loudness: each an estimate of the severity, 0 to 1, that ``data/synth`` would
give the clip, and a rating of ``5 - 4 * severity``. ``mos`` follows from the corpus' own formula for the overall
severity, the root mean square of the four: no listener was asked. Without speech there is nothing to rate well:
everything is 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.gaps import find_gaps
from earwitness.analysis.measure import Measurements, measure
from earwitness.analysis.profile import NAMES, profile
from earwitness.analysis.ratings import DIMENSIONS, HIGHEST, LOWEST, Analysis, on_scale
from earwitness.analysis.voice import RATE, analyse
from earwitness.audio.quality import measure_quality

FITTED = Path(__file__).with_name("signal.json")
CLIP = 3.0  # standard deviations: beyond them nothing was learnt
NO_SPEECH = "no speech was found; every rating is the lowest"


@dataclass(frozen=True)
class Heard:
    """A clip, measured.

    Attributes:
        measurements: for people.
        profile: (len(NAMES),); None without speech.
    """

    measurements: Measurements
    profile: NDArray[np.float64] | None


def hear(samples: NDArray[np.float32], sampling_rate: int = RATE) -> Heard:
    """Measure a clip at its own rate and, resampled, at 16 kHz."""
    clipped = measure_quality(samples).clipped_share
    if sampling_rate != RATE:
        import soxr

        samples = soxr.resample(samples, sampling_rate, RATE).astype(np.float32)
    gaps = find_gaps(samples)
    lost = gaps.frames(len(samples))
    frames = analyse(samples, lost)
    measurements = measure(samples, frames, gaps, clipped)
    return Heard(measurements, profile(samples, frames, lost) if frames.has_speech else None)


def expanded(profiles: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray:
    """Standardised profiles, held within ``CLIP`` deviations, and their squares: (..., 2 * len(NAMES))."""
    standard = np.clip((profiles - mean) / deviation, -CLIP, CLIP)
    return np.concatenate([standard, np.square(standard)], axis=-1)


@dataclass(frozen=True)
class Weights:
    """What was fitted.

    Attributes:
        mean, deviation: of the profile over the training clips, (len(NAMES),).
        noise, coloration: (1 + 2 * len(NAMES),), the constant first.
        discontinuity: severity over the missing and over the repeated share.
        loudness: constant and slope of the severity over LUFS.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    noise: NDArray[np.float64]
    coloration: NDArray[np.float64]
    discontinuity: tuple[float, float]
    loudness: tuple[float, float]

    def severities(self, heard: Heard) -> dict[str, float]:
        """Estimated severities of a clip with speech, 0 to 1, by the names of ``data/synth``."""
        assert heard.profile is not None
        numbers = expanded(heard.profile, self.mean, self.deviation)
        level, missing = heard.measurements.loudness_lufs, heard.measurements.missing_share
        estimates = {
            "noise": self.noise[0] + numbers @ self.noise[1:],
            "coloration": self.coloration[0] + numbers @ self.coloration[1:],
            "discontinuity": self.discontinuity[0] * missing
            + self.discontinuity[1] * heard.measurements.repeated_share,
            "loudness": 1.0 if level is None else self.loudness[0] + self.loudness[1] * level,
        }
        return {name: min(1.0, max(0.0, float(value))) for name, value in estimates.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Weights:
        """Read what ``to_json`` wrote."""
        if value["profile"] != list(NAMES):
            raise ValueError("the weights were fitted on another profile; fit them again")
        arrays = {name: np.array(value[name]) for name in ("mean", "deviation", "noise", "coloration")}
        return cls(**arrays, discontinuity=tuple(value["discontinuity"]), loudness=tuple(value["loudness"]))

    def to_json(self) -> dict[str, Any]:
        """Numbers with six digits, more than their accuracy."""

        def short(numbers: Any) -> list[float]:
            return [float(f"{number:.6g}") for number in numbers]

        return {"profile": list(NAMES), **{name: short(numbers) for name, numbers in asdict(self).items()}}


@cache
def fitted_weights() -> Weights:
    """The weights of the package; ``signal.json`` says how they were made."""
    return Weights.from_json(json.loads(FITTED.read_text(encoding="utf-8"))["weights"])


def overall(severities: Mapping[str, float]) -> float:
    """Root mean square of the four severities, as ``data/synth`` defines the overall one."""
    return float(np.sqrt(np.mean(np.square(list(severities.values())))))


class SignalEngine:
    """Rates clips by their signal; see the module."""

    name = "signal"

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights = weights or fitted_weights()

    def analyse(self, samples: NDArray[np.float32], sampling_rate: int) -> Analysis:
        """See ``ratings.Engine``; any clip can be rated."""
        return self.rate(hear(samples, sampling_rate))

    def rate(self, heard: Heard) -> Analysis:
        """Rate what was heard."""
        measurements = asdict(heard.measurements)
        if heard.profile is None:
            return Analysis(dict.fromkeys(DIMENSIONS, LOWEST), measurements, NO_SPEECH)
        found = self.weights.severities(heard)
        values = (overall(found), *(found[name] for name in ("noise", "coloration", "discontinuity", "loudness")))
        scale = HIGHEST - LOWEST
        ratings = {name: on_scale(HIGHEST - scale * value) for name, value in zip(DIMENSIONS, values, strict=True)}
        return Analysis(ratings, measurements)
