"""Reading ratings from what judges write, with the judges' own parsers where they have one.

A text of an unknown judge is read as SpeechEval's label lines, then as lines ``name: value`` for the dimensions that
people rated, then as a single score or the MOS that ends a description (ALLD).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

from earwitness.judges import parse
from earwitness.judges.numbers import SCORE, read_mos
from earwitness.judges.sections import split_response
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.scales import FIVE_POINTS, Scale, speech_rate

OVERALL = "overall quality"
SPEECH_RATE = "speech rate"
Value = float | str

_LABEL_LINES = JudgeSpec.of_type("speecheval_assessment")
_MARKUP = re.compile(r"[*_`#]+")
_RANGE_NOTE = re.compile(r"\(\s*\d+\s*(?:-|–|to)\s*\d+\s*\)")
_NAMED = re.compile(
    rf"^\s*[-•]?\s*(?P<name>[^:=\d]+?)\s*[:=]\s*(?:{SCORE}(?:\s*\(.*\))?|(?P<word>\w[\w -]*?))\s*\.?\s*$"
)


def extract_mos(text: str | None, scale: Scale = FIVE_POINTS) -> float | None:
    """The MOS that a description ends in, as ``judges.numbers.read_mos``; the scale in "MOS (1-5)" is skipped."""
    return read_mos(_RANGE_NOTE.sub("", text or ""), (scale.low, scale.high))[0]


def read_values(
    text: str | None, dimensions: Set[str], scale: Scale = FIVE_POINTS, judge: JudgeSpec | None = None
) -> dict[str, Value]:
    """Every rating of a text.

    Args:
        text: a response, with or without ``<think>`` and ``<answer>`` tags.
        dimensions: lower-case names to look for in lines ``name: value``.
        scale: what is off it is no rating.
        judge: who wrote the text, where that is known.

    Returns:
        Dimension to number, and for the speech rate to its category; a single score under ``OVERALL``. A dimension that
        is stated twice with different values is left out.
    """
    if not text:
        return {}
    read = parse(text, judge or _LABEL_LINES)
    found = rated({**read.scores, OVERALL: read.score, SPEECH_RATE: read.categories.get(SPEECH_RATE)}, scale)
    if found or judge is not None:
        return found
    stated: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = _NAMED.match(_MARKUP.sub("", line))
        name = " ".join(match["name"].casefold().split()) if match else ""
        if match is not None and name in dimensions:
            stated.setdefault(name, []).append(match["number"] or match["word"])
    found = rated({name: values[0] for name, values in stated.items() if len(set(values)) == 1}, scale)
    if not stated and (answer := split_response(text, False).answer) and not scale.levels:
        found = rated({OVERALL: extract_mos(answer, scale)}, scale)
    return found


def rated(given: Mapping[str, Any], scale: Scale) -> dict[str, Value]:
    """The values that are ratings: numbers on the scale, and of the speech rate its categories."""
    found: dict[str, Value] = {}
    for name, value in given.items():
        key = " ".join(name.casefold().split())
        rate = speech_rate(value) if key == SPEECH_RATE and isinstance(value, str) else None
        number = scale.number(value)
        if rate is not None or number is not None:
            found[key] = number if rate is None and number is not None else str(rate)
    return found
