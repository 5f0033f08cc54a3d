"""What a text states that can be checked: ratings line by line, time stamps, and what it says is heard."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

GRID = 10
"""Highest severity that the embedded corpus writes: ``noise 3, coloration 7`` are integers from 0 to 10."""

RATES = ("slow", "slightly slow", "appropriate", "slightly fast", "fast")
_SAME_RATE = {"suitable": "appropriate"}
_PLACES = {"first": 0.0, "tie": 0.5, "second": 1.0}

_ITEM = re.compile(r"\s*([a-z][a-z ]*?)\s+(\d{1,2})\s*", re.IGNORECASE)


def ratings(text: str, clip_names: Sequence[str], aspects: Sequence[str] = ()) -> dict[str, float]:
    """Every rating that a text gives on a line of its own, as a position from 0 to 1.

    Read are, by line:

    - ``Response 1: noise 3, coloration 7`` or ``noise 3, coloration 7`` (severities 0 to 10 of the embedded corpus);
    - SpeechEval's label lines: ``Distortion: 2/5 (artifacts)`` (1 to 5), ``Speech Rate: slightly fast`` (five words in
      order), ``Intelligibility: B is better than A`` (A, similar, B);
    - ``noise: 3.5`` for each of ``aspects``, a number from 1 to 5.

    Args:
        text: a thought or an answer.
        clip_names: what the prompt calls the clips.
        aspects: what the judge rates, where its answer is one line for each.

    Returns: name to position; severities of several clips under ``<clip name> <name>``. A name that occurs twice with
    different values is left out: it states neither.
    """
    found: dict[str, float] = {}
    doubtful: set[str] = set()
    for line in text.splitlines():
        for name, position in _line(line, clip_names, aspects).items():
            if found.setdefault(name, position) != position:
                doubtful.add(name)
    return {name: position for name, position in found.items() if name not in doubtful}


def _line(line: str, clip_names: Sequence[str], aspects: Sequence[str]) -> dict[str, float]:
    head, colon, body = line.partition(":")
    named = head.strip() if colon and head.strip() in clip_names else ""
    items = [_ITEM.fullmatch(item) for item in (body if named else line).split(",")]
    if all(items):
        grid = {item[1].casefold(): int(item[2]) for item in items if item}
        if len(grid) == len(items) and all(value <= GRID for value in grid.values()):
            return {f"{named} {name}".strip(): value / GRID for name, value in grid.items()}
    if colon and head.strip().casefold() in [aspect.casefold() for aspect in aspects]:
        return _on_five(head.strip().casefold(), body)
    return _label_line(line)


def _on_five(name: str, body: str) -> dict[str, float]:
    try:
        value = float(body.strip())
    except ValueError:
        return {}
    return {name: (value - 1) / 4} if 1 <= value <= 5 else {}


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
