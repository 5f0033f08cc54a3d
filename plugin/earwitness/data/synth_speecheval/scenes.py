"""One clip of synthetic SpeechEval and what was done to it; each depends on split, number and seed only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from earwitness.data.synth.degrade import Severities, degrade
from earwitness.data.synth.levels import SAMPLING_RATE, Waveform, loudness
from earwitness.data.synth.sentences import LANGUAGES, SPLITS, sentences
from earwitness.data.synth.source import record
from earwitness.data.synth.voices import Voice, speak
from earwitness.data.synth_speecheval.truth import RATES, Distortion, Scene, levels, pace_severity
from earwitness.data.synth_speecheval.vocoder import resynthesise

ASPECTS = ("noise", "coloration", "discontinuity", "artifacts")
MIXING_ORDER = ("artifacts", "noise", "coloration", "discontinuity")  # noise behind a filter would hide the filter
CLEAN_PROBABILITY = 0.2
QUIET_PROBABILITY = 0.3
LEAST_SEVERITY = 0.3  # what is named must be heard
LEAST_SECONDS = 0.4
MIXED_PROBABILITY = 0.8  # of each aspect in a mixed clip, and of lasting throughout
ARTIFACT_BANDS = (24, 5)  # of the vocoder, at severity 0 and 1
FAKE_BANDS = (8, 18)  # of the vocoder, drawn; from 24 on a tiny judge hears no difference
FADE = SAMPLING_RATE // 100
_KINDS = {
    "noise": "background noise",
    "coloration": "timbre & quality",
    "dropouts": "drop / missing",
    "stutter": "jitter",
    "artifacts": "artifacts",
}


@dataclass(frozen=True)
class Clip:
    """A clip and its truth.

    Attributes:
        waveform: (n,), 16 kHz.
        scene: what was done to a rated clip; how long and how fast the speech of any other is.
        levels: how good each of ``truth.HEARD`` is, 0 to 9.
        fake: whether it went through the vocoder as a whole.
        language, voice, speaker, sentence: of the speech.
    """

    waveform: Waveform
    scene: Scene
    levels: dict[str, int]
    fake: bool
    language: str
    voice: str
    speaker: str
    sentence: str


def rated_clip(split: str, number: int, seed: int) -> Clip:
    """A clip for assessment, comparison and suggestion."""
    rng = _rng(split, number, seed, 0)
    rate = str(rng.choice(list(RATES), p=(0.25, 0.5, 0.25)))
    speech, clip = _spoken(split, number, rate, rng)
    seconds = len(speech) / SAMPLING_RATE
    distortion = None
    if rng.random() >= CLEAN_PROBABILITY:
        aspect, severity = str(rng.choice(ASPECTS)), _severity(rng)
        speech, distortion = _distorted(speech, aspect, severity, _stretch(speech, rng), rng)
    quiet = _severity(rng) if rng.random() < QUIET_PROBABILITY else 0.0
    speech = degrade(speech, Severities(loudness=quiet), rng).waveform
    scene = Scene(round(seconds, 3), distortion, quiet, rate)
    return replace(clip, waveform=speech, scene=scene, levels=scene.levels())


def mixed_clip(split: str, number: int, seed: int) -> Clip:
    """A clip with several distortions at once, for its levels alone.

    One clip in eight of those with one distortion each has a certain kind; a judge that is to learn to hear all of them
    in few steps needs to meet each more often.
    """
    rng = _rng(split, number, seed, 2)
    rate = str(rng.choice(list(RATES)))
    speech, clip = _spoken(split, number, rate, rng)
    heard = {}
    for aspect in MIXING_ORDER:
        if rng.random() < MIXED_PROBABILITY:
            whole = rng.random() < MIXED_PROBABILITY
            stretch = (0, len(speech) * 10 // SAMPLING_RATE) if whole else _stretch(speech, rng)
            speech, distortion = _distorted(speech, aspect, _severity(rng, least=0.05), stretch, rng)
            if distortion is not None:
                heard[distortion.kind] = distortion.severity
    quiet = _severity(rng, least=0.05) if rng.random() < MIXED_PROBABILITY else 0.0
    speech = degrade(speech, Severities(loudness=quiet), rng).waveform
    return replace(clip, waveform=speech, levels=levels({**heard, "volume": quiet, "pace": pace_severity(rate)}))


def detected_clip(split: str, number: int, seed: int) -> Clip:
    """A clip for detection, fake where ``number`` is odd; noise and level vary alike in both classes."""
    rng = _rng(split, number, seed, 1)
    speech, clip = _spoken(split, number // 2, "appropriate", rng)
    fake = number % 2 == 1
    heard = {}
    if fake:
        bands = int(rng.integers(*FAKE_BANDS))
        heard["artifacts"] = float(np.interp(bands, ARTIFACT_BANDS[::-1], (1, 0)))
        speech = resynthesise(speech, bands, rng)
    severities = Severities(noise=round(float(rng.uniform(0, 0.3)), 2), loudness=round(float(rng.uniform(0, 0.3)), 2))
    heard |= {"background noise": severities.noise, "volume": severities.loudness}
    return replace(clip, waveform=degrade(speech, severities, rng).waveform, levels=levels(heard), fake=fake)


def _rng(split: str, number: int, seed: int, task: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), number, task]))


def _spoken(split: str, number: int, rate: str, rng: np.random.Generator) -> tuple[Waveform, Clip]:
    language = LANGUAGES[number % len(LANGUAGES)]
    choices = sentences(language, split)
    sentence = choices[int(rng.integers(len(choices)))]
    voice = replace(Voice.draw(language, split, rng), rate=int(rng.integers(*RATES[rate])))
    speech = record(speak(sentence.reading, voice), rng)
    scene = Scene(round(len(speech) / SAMPLING_RATE, 3), None, 0.0, rate)
    return speech, Clip(speech, scene, scene.levels(), False, language, str(voice), voice.speaker, sentence.text)


def _severity(rng: np.random.Generator, least: float = LEAST_SEVERITY) -> float:
    return round(float(rng.uniform(least, 1)), 2)


def _stretch(speech: Waveform, rng: np.random.Generator) -> tuple[int, int]:
    """Draw where a distortion begins and ends, in tenths of a second."""
    tenths = len(speech) * 10 // SAMPLING_RATE
    length = int(rng.integers(min(round(LEAST_SECONDS * 10), tenths), tenths + 1))
    first = int(rng.integers(0, tenths - length + 1))
    return first, first + length


def _distorted(
    speech: Waveform, aspect: str, severity: float, stretch: tuple[int, int], rng: np.random.Generator
) -> tuple[Waveform, Distortion | None]:
    """Distort a stretch of the speech; None where it holds no sound to distort."""
    start, stop = (place * SAMPLING_RATE // 10 for place in stretch)
    part = speech[start:stop]
    level = loudness(part)
    if not np.isfinite(level):
        return speech, None
    if aspect == "artifacts":
        kind = aspect
        bands = round(float(np.interp(severity, (0, 1), ARTIFACT_BANDS)))
        changed = resynthesise(part, bands, rng)
    else:
        degraded = degrade(part, Severities(**{aspect: severity}), rng, nominal_lufs=level)
        kind = degraded.causes[aspect] if aspect == "discontinuity" else aspect
        changed = degraded.waveform
    samples = len(part)
    fade = np.minimum(1, np.minimum(np.arange(1, samples + 1), np.arange(samples, 0, -1)) / FADE)
    result = speech.copy()
    result[start:stop] = (fade * changed + (1 - fade) * part).astype(np.float32)
    return result, Distortion(_KINDS[kind], severity, stretch[0] / 10, stretch[1] / 10)
