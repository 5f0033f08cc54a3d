"""Fit the weights of the engine ``signal`` on synthetic degradations, and check them on clips it never heard.

Clips are those of ``data/synth``, made in memory: every clip has independent severities of noise, coloration,
discontinuity and loudness. Fitted on voices and sentences of the split ``train``, checked on those of ``test``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.analysis.profile import NAMES
from earwitness.analysis.ratings import DIMENSIONS
from earwitness.analysis.signal import Heard, SignalEngine, Weights, expanded, hear
from earwitness.data.synth.degrade import Severities

SEVERITIES = ("overall", "noise", "coloration", "discontinuity", "loudness")
"""What each of ``DIMENSIONS`` should follow, in the same order."""
PENALTIES = tuple(10 ** (half / 2) for half in range(-2, 10))
FOLDS = 5
EXCERPT = 40_000  # samples, 2.5 s
FIT_SEED, CHECK_SEED = 20_240, 20_241


@dataclass(frozen=True)
class Known:
    """A clip whose severities are known, as it was heard."""

    severities: dict[str, float]
    heard: Heard


def known_clips(split: str, count: int, seed: int, jobs: int = 1) -> Iterator[Known]:
    """Make and hear clips of a split, in order, the same for every number of processes."""
    numbers = range(count)
    if jobs == 1:
        yield from map(partial(_known, split, seed), numbers)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(_known, split, seed), numbers, chunksize=25)


def degraded_clips(recordings: Sequence[NDArray[np.float32]], count: int, seed: int) -> Iterator[Known]:
    """Degrade excerpts of recordings, real ones say, with severities drawn as the corpus draws them.

    Args:
        recordings: (n,), 16 kHz, as clean as can be had: what they bring along counts as no severity.
        count: of clips, taken from the recordings in turn.
        seed: of the draws.
    """
    from earwitness.data.synth.corpus import UNTOUCHED_PROBABILITY
    from earwitness.data.synth.degrade import degrade

    for number in range(count):
        rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
        speech = recordings[number % len(recordings)]
        start = int(rng.integers(0, max(1, len(speech) - EXCERPT)))
        drawn = np.where(rng.random(4) < UNTOUCHED_PROBABILITY, 0, rng.random(4))
        severities = Severities(*(round(float(value), 4) for value in drawn))
        waveform = degrade(speech[start : start + EXCERPT], severities, rng).waveform
        yield Known({**asdict(severities), "overall": severities.overall}, _heard(waveform))


def _heard(waveform: NDArray[np.float32]) -> Heard:
    """What is heard of a 16-bit file that holds the waveform."""
    return hear((np.round(np.clip(waveform, -1, 1) * 32767) / 32768).astype(np.float32))


def _known(split: str, seed: int, number: int) -> Known:
    from earwitness.data.synth.corpus import make_clip

    row, waveform = make_clip(split, number, seed)
    return Known(row["severities"], _heard(waveform))


def fit(clips: Iterable[Known]) -> Weights:
    """Fit the weights: ridge regression, its penalty by five-fold cross-validation; straight lines for the others."""
    from scipy.optimize import nnls

    spoken = [(clip, clip.heard.profile) for clip in clips if clip.heard.profile is not None]
    profiles = np.array([numbers for _, numbers in spoken])
    truth = {name: np.array([clip.severities[name] for clip, _ in spoken]) for name in SEVERITIES}
    mean, deviation = profiles.mean(axis=0), profiles.std(axis=0) + 1e-9
    numbers = expanded(profiles, mean, deviation)
    measured = [clip.heard.measurements for clip, _ in spoken]
    lost = np.array([(one.missing_share, one.repeated_share) for one in measured])
    lufs = np.array([one.loudness_lufs for one in measured], float)
    discontinuity = nnls(lost, truth["discontinuity"])[0]
    loudness = np.polynomial.polynomial.polyfit(lufs, truth["loudness"], 1)
    return Weights(
        mean=mean,
        deviation=deviation,
        noise=_ridge(numbers, truth["noise"]),
        coloration=_ridge(numbers, truth["coloration"]),
        discontinuity=(float(discontinuity[0]), float(discontinuity[1])),
        loudness=(float(loudness[0]), float(loudness[1])),
    )


def _ridge(numbers: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Constant and coefficients with the penalty that errs least on folds left out; the constant is free."""
    folds = np.arange(len(truth)) % FOLDS

    def error(penalty: float, fold: int) -> float:
        rest = folds != fold
        weights = _solve(numbers[rest], truth[rest], penalty)
        return float(np.square(_predict(weights, numbers[~rest]) - truth[~rest]).sum())

    errors = [sum(error(penalty, fold) for fold in range(FOLDS)) for penalty in PENALTIES]
    return _solve(numbers, truth, PENALTIES[int(np.argmin(errors))])


def _solve(numbers: NDArray[np.float64], truth: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    centre, level = numbers.mean(axis=0), truth.mean()
    centred = numbers - centre
    gram = centred.T @ centred + penalty * np.eye(numbers.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (truth - level))
    return np.concatenate([[level - centre @ slopes], slopes])


def _predict(weights: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    return weights[0] + numbers @ weights[1:]


@dataclass(frozen=True)
class Check:
    """How ratings follow known severities.

    Attributes:
        clips: how many.
        spearman: rating of each of ``DIMENSIONS`` (rows) with each of ``SEVERITIES`` (columns), sign turned: 1 where
            the rating falls exactly as the severity rises.
        unheard: clips in which no speech was found.
    """

    clips: int
    spearman: NDArray[np.float64]
    unheard: int

    @property
    def follows(self) -> dict[str, float]:
        """Of each dimension, the correlation with its own severity."""
        return {name: float(self.spearman[place, place]) for place, name in enumerate(DIMENSIONS)}

    @property
    def leakage(self) -> dict[str, float]:
        """Of each dimension but mos, the largest absolute correlation with another one's severity."""
        absolute = np.abs(self.spearman)[1:, 1:]
        return {name: float(np.delete(absolute[place], place).max()) for place, name in enumerate(DIMENSIONS[1:])}

    def to_json(self) -> dict[str, Any]:
        """For ``signal.json``."""
        return {
            "clips": self.clips,
            "no_speech_found": self.unheard,
            "spearman_with_own_severity": {name: round(value, 3) for name, value in self.follows.items()},
            "largest_leakage": {name: round(value, 3) for name, value in self.leakage.items()},
        }


def check(clips: Sequence[Known], weights: Weights | None = None) -> Check:
    """Rate clips of known severity and correlate; the four severities of the clips must be independent."""
    from scipy.stats import spearmanr

    engine = SignalEngine(weights)
    rated = [engine.rate(clip.heard) for clip in clips]
    ratings = np.array([[one.ratings[name] for name in DIMENSIONS] for one in rated])
    severities = np.array([[clip.severities[name] for name in SEVERITIES] for clip in clips])
    table = spearmanr(-ratings, severities).statistic[: len(DIMENSIONS), len(DIMENSIONS) :]
    return Check(len(clips), table, sum(one.note is not None for one in rated))


def extremes() -> dict[str, NDArray[np.float32]]:
    """Sounds without speech, 4 s at 16 kHz, that belong to the bottom of every scale."""
    rng = np.random.default_rng(0)
    time = np.arange(64_000) / 16_000
    return {
        "digital silence": np.zeros(64_000, np.float32),
        "white noise": (0.1 * rng.standard_normal(64_000)).astype(np.float32),
        "quiet white noise": (1e-4 * rng.standard_normal(64_000)).astype(np.float32),
        "tone": (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32),
    }


def made_of(clips: int) -> dict[str, Any]:
    """How the weights were made, for ``signal.json``."""
    from earwitness.data.synth.corpus import fingerprint

    return {
        "command": "python benchmarks/analysis.py --fit",
        "data": "plugin/earwitness/data/synth, split train",
        "seed": FIT_SEED,
        "clips": clips,
        "numbers": len(NAMES),
        "severities": list(Severities.__dataclass_fields__),
        "made_by": fingerprint(),
    }
