"""The structured labels of SpeechEval, line by line, as annotators' metadata and as ``<think>`` blocks hold them.

Single clips (``Overall Quality: 3``, ``Distortion: 2/5 (artifacts;jitter)``, ``Distortion Type: background noise``,
``Distortion Duration: appeared between 0 s - 3.5 s``, ``Subjective Speaker Gender: male``) and pairs
(``Intelligibility (A vs B): B is better than A``, ``Distortion Detail A - Type: jitter, Duration: 0-3.3 s``,
``Subjective B - Gender: female, Age: middle-aged``). Source: the released evaluation scripts and example outputs of
SpeechLLM-as-Judges, and Appendices B.2 and B.3 of the paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from earwitness.data.converters.item import Detail, detail
from earwitness.errors import RowError, shorten
from earwitness.judges.speecheval_lines import DIMENSIONS, RATE, RATED, RATES, SCALE

SPEECH_RATES = (*RATES, "suitable")
"""Categories of the speech rate; the released data write "suitable" where the paper writes "appropriate"."""

_FREE_TEXT: Mapping[str, str] = {
    "distortion type": "distortion type",
    "distortion degree": "distortion degree",
    "distortion severity": "distortion degree",
    "distortion perception": "distortion perception",
    "emotional impact type": "emotion",
    "subjective speaker gender": "speaker gender",
    "subjective speaker age": "speaker age",
    "tone description": "tone",
    "improvement suggestions": "improvement areas",
    "key improvement areas": "improvement areas",
    "distortion details": "distortion details",
    "subjective experience details": "subjective experience details",
}
_PREFERENCES = {"a is better than b": "first", "b is better than a": "second", "a and b are similar": "tie"}

_NAMED = re.compile(r"^\s*([^:]*?)\s*:\s*(.*?)\s*$", re.DOTALL)
_SCORE = re.compile(r"^(\d+(?:\.\d+)?)(?:\s*/\s*5)?(?:\s*\((.*)\))?$")
_PREFERENCE = re.compile(r"^(a is better than b|b is better than a|a and b are similar)(?: in this aspect)?\.?$", re.I)
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*s?\s*[-–]\s*(\d+(?:\.\d+)?)\s*s\b")
_OF_CLIP = re.compile(r"^(distortion detail|subjective)\s+([ab])\s+-\s+(.*)$", re.I | re.DOTALL)
_EMOTION_OF_CLIP = re.compile(r"^emotional impact type ([ab])$", re.I)
_ABSENT = {"", "n/a", "none", "unknown"}

_ALLOWED = (
    f"'<dimension>: <1 to 5>' or '<dimension> (A vs B): A is better than B | B is better than A | A and B are similar' "
    f"for {', '.join(DIMENSIONS)}; 'Speech Rate: {' | '.join(SPEECH_RATES)}'; '<name>: <text>' for "
    f"{', '.join(_FREE_TEXT)}; 'Distortion Duration: <start> s - <end> s'; 'Distortion Detail A - Type: ..., Duration: "
    "<start>-<end> s'; 'Emotional Impact Type A: ...'; 'Subjective A - Gender: ..., Age: ...'"
)


def read_label_lines(lines: str | Iterable[str]) -> list[Detail]:
    """Read structured label lines; blank lines do not count.

    Raises:
        RowError: a line that is none of those above, or a value outside its menu or scale; names line and menu.
    """
    found: list[Detail] = []
    for line in lines.splitlines() if isinstance(lines, str) else lines:
        if line.strip():
            found.extend(_read_line(line))
    return found


def read_thinking(thinking: str) -> list[Detail]:
    """Read the label lines of a ``<think>`` block; its headings and free text do not count."""
    found: list[Detail] = []
    for line in thinking.splitlines():
        try:
            found.extend(_read_line(line))
        except RowError:
            continue
    return found


def scores_of(details: Iterable[Detail]) -> dict[str, float | None]:
    """The scores of the seven rated dimensions, None where there is none."""
    scores: dict[str, float | None] = dict.fromkeys(RATED)
    scores.update({entry["name"]: entry["score"] for entry in details if entry["score"] is not None})
    return scores


def preference_of(details: Iterable[Detail], name: str = "overall quality") -> str | None:
    """The verdict on one dimension of a pair, None where there is none."""
    return next((entry["verdict"] for entry in details if entry["name"] == name and entry["verdict"]), None)


def _read_line(line: str) -> list[Detail]:
    if not (parts := _NAMED.match(line)):
        raise _refused(line)
    if of_clip := _OF_CLIP.match(line.strip()):
        return _of_clip(line, of_clip[1].casefold(), of_clip[2].casefold(), of_clip[3])
    name, value = re.sub(r"\s*\(a vs b\)$", "", parts[1].casefold()), parts[2]
    if emotion := _EMOTION_OF_CLIP.match(name):
        return _texts("emotion", value, clip=emotion[1])
    if name == "distortion duration":
        return _spans(line, name, value)
    if name in DIMENSIONS and (preference := _PREFERENCE.match(value)):
        return [detail(name, verdict=_PREFERENCES[preference[1].casefold()])]
    if name == RATE and value.casefold() in SPEECH_RATES:
        return [detail(name, text=value.casefold())]
    if name in RATED and (score := _SCORE.match(value)):
        return _scored(line, name, float(score[1]), score[2])
    if name in _FREE_TEXT:
        return _texts(_FREE_TEXT[name], value)
    raise _refused(line)


def _refused(line: str) -> RowError:
    return RowError(f"label line {shorten(line)!r} cannot be read; allowed: {_ALLOWED}", value=line)


def _scored(line: str, name: str, score: float, note: str | None) -> list[Detail]:
    if not SCALE[0] <= score <= SCALE[1]:
        raise RowError(f"label line {shorten(line)!r} holds {score:g}; allowed: a number from 1 to 5", value=line)
    found = [detail(name, score=score)]
    if note and name == "distortion":
        found += _texts("distortion type", note)
    elif note and name == "emotional impact":
        found += _texts("emotion", note)
    elif note and name == "subjective experience":  # "female, thirties": the speaker's gender, then age
        gender, _, age = note.partition(",")
        found += [*_texts("speaker gender", gender), *_texts("speaker age", age)]
    elif note:
        raise _refused(line)
    return found


def _texts(name: str, value: str, clip: str | None = None) -> list[Detail]:
    """One detail a value; types and improvement areas are lists, split at ``;`` (and areas at ``,`` too)."""
    separators = {"distortion type": r";", "improvement areas": r"[;,]"}.get(name)
    values = re.split(separators, value) if separators else [value]
    return [detail(name, clip=clip, text=one.strip()) for one in values if one.strip().casefold() not in _ABSENT]


def _spans(line: str, name: str, value: str, clip: str | None = None) -> list[Detail]:
    if value.strip().casefold() in _ABSENT:
        return []
    spans = [(float(span[1]), float(span[2])) for span in _SPAN.finditer(value)]
    if not spans or any(start > end for start, end in spans):
        raise RowError(
            f"label line {shorten(line)!r} holds no time span; allowed: '<start> s - <end> s' with start <= end",
            value=line,
        )
    return [detail(name, clip=clip, start=start, end=end) for start, end in spans]


def _of_clip(line: str, subject: str, clip: str, fields: str) -> list[Detail]:
    readers: dict[str, Callable[[str], list[Detail]]] = {
        "type": lambda value: _texts("distortion type", value, clip),
        "duration": lambda value: _spans(line, "distortion duration", value, clip),
    }
    if subject == "subjective":
        readers = {
            "gender": lambda value: _texts("speaker gender", value, clip),
            "age": lambda value: _texts("speaker age", value, clip),
        }
    names = "|".join(readers)
    parts = re.split(rf"(?:^|,)\s*({names})\s*:", fields, flags=re.I)
    if len(parts) < 3 or parts[0].strip():
        raise _refused(line)
    found: list[Detail] = []
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        found += readers[name.casefold()](value.strip())
    return found
