"""What a text states that can be checked: ratings line by line, time stamps, and what it says is heard."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

GRID = 10
"""Highest severity that the embedded corpus writes: ``noise 3, coloration 7`` are integers from 0 to 10."""

RATES = ("slow", "slightly slow", "appropriate", "slightly fast", "fast")
_SAME_RATE = {"suitable": "appropriate"}
_PLACES = {"first": 0.0, "tie": 0.5, "second": 1.0}

_NAME = re.compile(r"[^\W\d_][^\d:]*")

Scale = tuple[float, float] | tuple[str, ...]


def ratings(text: str, clip_names: Sequence[str], scale: Scale | None = None) -> dict[str, float]:
    """Every rating that a text gives on a line of its own, as a position from 0 to 1 on its scale.

    Read are, by line:

    - ``noise: 3`` on ``scale``, or from 0 to 10 (``GRID``) where there is none;
    - ``noise 3, coloration 7``, likewise, several on a line;
    - without ``scale`` SpeechEval's label lines: ``Distortion: 2/5 (artifacts)`` (1 to 5), ``Speech Rate: slightly
      fast`` (five words in order), ``Intelligibility: B is better than A`` (A, similar, B).

    A clip's name before them, on the same line (``Response 1: noise 3``) or alone on the line above, is their owner.

    Args:
        text: a thought or an answer.
        clip_names: what the prompt calls the clips.
        scale: lowest and highest number, or words from worst to best.

    Returns: name to position, behind the clip's name where one was given. A name that occurs twice with different
        values is left out: it states neither.
    """
    found: dict[str, float] = {}
    doubtful: set[str] = set()
    clip = ""
    for line in (" ".join(one.split()) for one in text.splitlines()):
        head, colon, body = line.partition(":")
        if head.strip() in clip_names and not body.strip():
            clip = head.strip()
            continue
        named = colon and head.strip() in clip_names
        owner, rest = (head.strip(), body) if named else (clip, line)
        for name, position in _line(rest, scale).items():
            key = f"{owner} {name}".strip()
            if found.setdefault(key, position) != position:
                doubtful.add(key)
    return {name: position for name, position in found.items() if name not in doubtful}


def _line(line: str, scale: Scale | None) -> dict[str, float]:
    if scale is None and (labels := _label_line(line)):
        return labels
    if ":" in line:
        name, _, value = line.partition(":")
        items = [(name.strip(), value.strip())]
    else:
        items = [(name.strip(), value) for name, _, value in (item.strip().rpartition(" ") for item in line.split(","))]
    found = {name.casefold(): _position(value, scale) for name, value in items if _NAME.fullmatch(name)}
    known = {name: position for name, position in found.items() if position is not None}
    return known if len(known) == len(items) else {}


def _position(value: str, scale: Scale | None) -> float | None:
    low, high = (0.0, float(GRID)) if scale is None else (scale[0], scale[-1])
    if isinstance(low, str) or isinstance(high, str):
        words = [str(word).casefold() for word in scale or ()]
        return words.index(value.casefold()) / (len(words) - 1) if value.casefold() in words else None
    try:
        number = float(value)
    except ValueError:
        return None
    return (number - low) / (high - low) if low <= number <= high else None


def _label_line(line: str) -> dict[str, float]:
    from earwitness.data.converters.label_lines import read_thinking

    found = {}
    for entry in read_thinking(line):
        if entry["score"] is not None:
            found[entry["name"]] = (entry["score"] - 1) / 4
        elif entry["verdict"] is not None:
            found[entry["name"]] = _PLACES[entry["verdict"]]
        elif entry["name"] == "speech rate" and entry["text"] is not None:
            found["speech rate"] = RATES.index(_SAME_RATE.get(entry["text"], entry["text"])) / 4
    return found


_SECONDS = r"s(?:ec(?:ond)?s?)?\b"
_TIMES = re.compile(
    rf"(?<![\w.])(?:(\d+(?:\.\d+)?)\s*(?:{_SECONDS})?\s*(?:[-–—~]|to|and)\s*)?(\d+(?:\.\d+)?)[\s-]*{_SECONDS}",
    re.IGNORECASE,
)


def times(text: str) -> list[float]:
    """Every time in seconds that a text names: ``0-3.3 s``, ``from 1 to 2.5 seconds``, ``5.7s``."""
    return [float(number) for found in _TIMES.findall(text) for number in found if number]


CONCEPTS: Mapping[str, str] = {
    "noise": r"nois|hiss|buzz|\bhum",
    "coloration": r"colou?r|muffl|timbr|hollow|metallic|tinny|bandwidth",
    "discontinuity": r"interrupt|continu|drop|missing|stutter|jitter|choppy|\bgaps?\b|break",
    "loudness": r"volume|loud|quiet",
    "clipping": r"clipp|overload|saturat",
    "echo": r"echo|reverb",
    "artifacts": r"artifact|artefact|robotic",
    "intelligibility": r"intelligib|clarity|unclear|pronunciat",
    "speech rate": r"speech rate|\bpac(?:e|ing)\b|tempo|\bslow|\bfast",
    "dynamic range": r"dynamic",
    "emotion": r"emotion",
    "expression": r"expressi|artistic",
    "speaker": r"\bmale\b|\bfemale\b|middle-aged|elderly|thirties|twenties|forties",
}
"""What speech judges say of a recording, by word stems. Words for overall quality are left out: every text has them."""

_CONCEPTS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in CONCEPTS.items()}


def concepts(text: str) -> set[str]:
    """The names of ``CONCEPTS`` of which a text speaks."""
    return {name for name, pattern in _CONCEPTS.items() if pattern.search(text)}
