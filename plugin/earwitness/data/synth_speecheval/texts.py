"""The truth of a scene in SpeechEval's words: ``<think>`` lines and prose, as its released outputs have them."""

from __future__ import annotations

from collections.abc import Mapping

from earwitness.data.synth_speecheval.truth import BEST, COMPARED, Distortion, Scene

_GRADES = {1: "bad", 2: "poor", 3: "fair", 4: "good", 5: "excellent"}
_TITLES = {"overall quality": "Overall Quality", "intelligibility": "Intelligibility", "distortion": "Distortion"}
_BETTER = {"first": "A is better than B", "second": "B is better than A", "tie": "A and B are similar in this aspect"}
_SUGGESTIONS = {
    "background noise": "Reduce the background noise between {start:g} s and {end:g} s.",
    "timbre & quality": "Restore the timbre between {start:g} s and {end:g} s with a wider frequency band.",
    "drop / missing": "Recover the missing segments between {start:g} s and {end:g} s with a stable connection.",
    "jitter": "Remove the jitter between {start:g} s and {end:g} s with a larger buffer.",
    "artifacts": "Avoid the artifacts between {start:g} s and {end:g} s with a better vocoder.",
    "volume": "Raise the volume to a comfortable level.",
    "slow": "Speak at a faster pace.",
    "fast": "Speak at a slower pace.",
}
NOTHING = "Nothing needs to be improved."


def assessment(scene: Scene) -> tuple[str, str]:
    """Thinking and answer of the task SingleEval."""
    scores, distortion = scene.scores(), scene.distortion
    kind = f" ({distortion.kind})" if distortion else ""
    lines = [
        "For each dimension, give a score and short explanation.",
        f"Overall Quality: {scores['overall quality']}/5",
        f"Intelligibility: {scores['intelligibility']}/5",
        f"Distortion: {scores['distortion']}/5{kind}",
        f"Speech Rate: {scene.rate}",
    ]
    prose = [f"The speech has {_GRADES[scores['overall quality']]} overall quality."]
    prose.append(f"There is {_where(distortion)}." if distortion else "There is no distortion.")
    prose.append(f"The speech rate is {scene.rate}.")
    return "\n".join(lines), " ".join(prose)


def suggestion(scene: Scene) -> tuple[str, str]:
    """Thinking and answer of the task Suggest."""
    areas = scene.areas()
    lines = ["Extract key aspects for audio quality improvement."]
    if areas:
        lines.append(f"Key improvement areas: {', '.join(areas)}")
    return "\n".join(lines), "\n".join(_suggest(scene, area) for area in areas) or NOTHING


def comparison(first: Scene, second: Scene, preferred: Mapping[str, str]) -> tuple[str, str]:
    """Thinking and answer of the task CompareEval.

    The thought says what is heard in each sample before it compares them, where the released outputs compare first: a
    tiny judge cannot compare what it has not yet written down. The grades stand in a sentence, not in a field.
    """
    lines = ["Compare the two audio samples across different quality dimensions."]
    prose = []
    for letter, scene in (("A", first), ("B", second)):
        distortion = scene.distortion
        if distortion:
            span = f"{distortion.start:g}-{distortion.end:g} s"
            lines.append(f"Distortion Detail {letter} - Type: {distortion.kind}, Duration: {span}")
        grades = scene.grades()
        lines.append(f"Sample {letter} is {', '.join(str(grades[name]) for name in COMPARED)} of {BEST}.")
        prose.append(f"Sample {letter} has {distortion.kind if distortion else 'no distortion'}.")
    lines += [f"{_TITLES[name]}: {_BETTER[preferred[name]]}" for name in COMPARED]
    overall = preferred["overall quality"]
    winner = {"first": "Sample A is better.", "second": "Sample B is better."}.get(
        overall, "Sample A and Sample B are similar."
    )
    return "\n".join(lines), " ".join([*prose, f"Overall, {winner}"])


def _where(distortion: Distortion) -> str:
    return f"{distortion.kind} ({distortion.start:g}-{distortion.end:g} s)"


def _suggest(scene: Scene, area: str) -> str:
    if area in ("volume", "pace"):
        return _SUGGESTIONS[scene.rate if area == "pace" else area]
    assert scene.distortion is not None
    return _SUGGESTIONS[area].format(start=scene.distortion.start, end=scene.distortion.end)
