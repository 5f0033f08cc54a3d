"""Reading ratings from what judges write, with the judges' own parsers where they have one.

A text of an unknown judge is read as SpeechEval's label lines, then as lines ``name: value`` for the dimensions that
people rated, then as a single score or the MOS that ends a description (ALLD).
"""

from __future__ import annotations

import re
from collections.abc import Set

from earwitness.judges import parse
from earwitness.judges.numbers import SCORE, read_mos
from earwitness.judges.sections import split_response
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.scores import speech_rate

OVERALL = "overall quality"
SPEECH_RATE = "speech rate"
Value = float | str

_LABEL_LINES = JudgeSpec.of_type("speecheval_assessment")
_MARKUP = re.compile(r"[*_`#]+")
_RANGE_NOTE = re.compile(r"\(\s*\d+\s*(?:-|–|to)\s*\d+\s*\)")
_NAMED = re.compile(
    rf"^\s*[-•]?\s*(?P<name>[^:=\d]+?)\s*[:=]\s*(?:{SCORE}(?:\s*\(.*\))?|(?P<word>\w[\w -]*?))\s*\.?\s*$"
)


def extract_mos(text: str | None, scale: tuple[float, float] = (1, 5)) -> float | None:
    """The MOS that a description ends in, as ``judges.numbers.read_mos``; the scale in "MOS (1-5)" is skipped."""
    return read_mos(_RANGE_NOTE.sub("", text or ""), scale)[0]


def read_values(
    text: str | None, dimensions: Set[str], scale: tuple[float, float] = (1, 5), judge: JudgeSpec | None = None
) -> dict[str, Value]:
    """Every rating of a text.

    Args:
        text: a response, with or without ``<think>`` and ``<answer>`` tags.
        dimensions: lower-case names to look for in lines ``name: value``.
        scale: numbers outside it are no ratings.
        judge: who wrote the text, where that is known.

    Returns:
        Dimension to number, and for the speech rate to its category; a single score under ``OVERALL``. A dimension that
        is stated twice with different values is left out.
    """
    if not text:
        return {}
    read = parse(text, judge or _LABEL_LINES)
    found: dict[str, Value] = {name: value for name, value in read.scores.items() if _on(value, scale)}
    if (rate := speech_rate(read.categories.get(SPEECH_RATE, ""))) is not None:
        found[SPEECH_RATE] = rate
    if read.score is not None and scale[0] <= read.score <= scale[1]:
        found.setdefault(OVERALL, read.score)
    if found or judge is not None:
        return found
    found = _named(text, dimensions, scale)
    if not found and (answer := split_response(text, False).answer):
        single = extract_mos(answer, scale)
        return {} if single is None else {OVERALL: single}
    return found


def _on(value: Value, scale: tuple[float, float]) -> bool:
    return isinstance(value, float | int) and scale[0] <= value <= scale[1]


def _named(text: str, dimensions: Set[str], scale: tuple[float, float]) -> dict[str, Value]:
    found: dict[str, set[Value]] = {}
    for line in text.splitlines():
        match = _NAMED.match(_MARKUP.sub("", line))
        name = " ".join(match["name"].casefold().split()) if match else ""
        if match is None or name not in dimensions:
            continue
        value: Value | None = float(match["number"]) if match["number"] else None
        if name == SPEECH_RATE and match["word"]:
            found.setdefault(name, set()).update(filter(None, [speech_rate(match["word"])]))
        elif value is not None and _on(value, scale):
            found.setdefault(name, set()).add(value)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}
