"""Reading ratings from what judges write: label lines, single scores, and the MOS that ends a description (ALLD)."""

from __future__ import annotations

import re
from collections.abc import Set

from earwitness.data.converters.label_lines import read_thinking
from earwitness.judges.sections import split_response
from earwitness.metrics.evaluator_text import extract_score
from earwitness.metrics.scores import speech_rate

OVERALL = "overall quality"
SPEECH_RATE = "speech rate"
Value = float | str

_MARKUP = re.compile(r"[*_`#]+")
_NUMBER = r"(?<![\w.,])(\d+(?:\.\d+)?)(?!\.?\d)"
_SCALE = r"(?:\s*(?:/|out\s+of)\s*\d+(?:\.0+)?)?"
_RANGE = r"(?!\s*(?:%|(?:-|–|—|~|to|or|and)\s*\d))"
_MOS = re.compile(
    r"(?:\bMOS\b|\bmean\s+opinion\s+score\b|\boverall(?:\s+speech)?\s+quality\b|\boverall\s+(?:score|rating)\b)"
    rf"(?:\s*\([^)\n]*\))?[^\d.!?\n]{{0,60}}?{_NUMBER}{_SCALE}{_RANGE}",
    re.IGNORECASE,
)
_NUMBER_LINE = re.compile(rf"^[\s\[(]*{_NUMBER}{_SCALE}[\s\]).]*$")
_NAMED = re.compile(
    rf"^\s*[-•]?\s*([^:=\d]+?)\s*[:=]\s*(?:{_NUMBER}{_SCALE}{_RANGE}(?:\s*\(.*\))?|(\w[\w -]*?))\s*\.?\s*$"
)


def extract_mos(text: str | None, scale: tuple[float, float] = (1, 5)) -> float | None:
    """The MOS that a description states.

    Read is the last number that follows "MOS", "mean opinion score", "overall quality" or "overall score" in the same
    sentence ("with a MOS of 3.2", "overall quality is about 2.5 out of 5"), else a number alone on the last line.
    ``None`` where there is neither, for a range ("3 to 4"), and outside ``scale``.
    """
    plain = _MARKUP.sub("", text or "").strip()
    stated = [float(match[1]) for match in _MOS.finditer(plain)]
    last = _NUMBER_LINE.match(plain.rpartition("\n")[2])
    value = stated[-1] if stated else float(last[1]) if last else None
    return value if value is not None and scale[0] <= value <= scale[1] else None


def read_values(text: str | None, dimensions: Set[str], scale: tuple[float, float] = (1, 5)) -> dict[str, Value]:
    """Every rating of a text.

    Args:
        text: a response, with or without ``<think>`` and ``<answer>`` tags.
        dimensions: lower-case names to look for in lines ``name: value``; SpeechEval's eight are always read.
        scale: numbers outside it are no ratings.

    Returns:
        Dimension to number, and for the speech rate to its category. A text without any such line may give
        ``OVERALL`` as a single number, a labelled score or a MOS. A dimension stated twice with different values is
        left out.
    """
    if not text:
        return {}
    found: dict[str, set[Value]] = {}

    def add(name: str, value: Value) -> None:
        if scale[0] <= value <= scale[1] if isinstance(value, float) else speech_rate(value) is not None:
            found.setdefault(name, set()).add(value)

    for entry in read_thinking(text):
        if entry["score"] is not None:
            add(entry["name"], float(entry["score"]))
        elif entry["name"] == SPEECH_RATE and entry["text"] is not None:
            add(SPEECH_RATE, str(entry["text"]))
    labelled = set(found)
    for line in text.splitlines():
        match = _NAMED.match(_MARKUP.sub("", line))
        if match and (name := " ".join(match[1].casefold().split())) in dimensions - labelled:
            if match[2]:
                add(name, float(match[2]))
            elif name == SPEECH_RATE:
                add(name, match[3])
    if not found:
        number = _single(text, scale)
        if number is not None:
            add(OVERALL, number)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _single(text: str, scale: tuple[float, float]) -> float | None:
    """The one number of an answer that rates one thing."""
    answer = split_response(text, False).answer
    if answer is None:
        return None
    first = _NUMBER_LINE.match(_MARKUP.sub("", answer.partition("\n")[0]))
    if first:
        return float(first[1])
    labelled = extract_score(answer)
    return extract_mos(answer, scale) if labelled is None else labelled
