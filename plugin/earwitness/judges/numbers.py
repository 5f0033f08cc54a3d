"""Reading one score from an answer, never inventing one: "7/10" is no score on a scale from 1 to 5."""

from __future__ import annotations

import re

from earwitness.errors import shorten
from earwitness.judges.text import bare

NUMBER = r"(?<![\w.,/+-])(?P<number>\d{1,3}(?:\.\d{1,4})?)(?![\w%])(?!\.\d|,\d)"
_OUT_OF = r"(?:\s*(?:/|out of)\s*(?P<top>\d{1,3}(?:\.0)?)(?![\w%/]|\.\d))?"
_NO_RANGE = r"(?!\s*(?:-|–|—|~|to|or|and|/|out of|%)\s*\d)"
SCORE = rf"{NUMBER}{_OUT_OF}{_NO_RANGE}"
_ALONE = re.compile(SCORE)
_DECLARED = re.compile(
    r"\b(?:score|rating|rate|grade|mos|mean opinion score|answer|overall(?: quality)?|rate it|give it|rated)\b"
    rf"(?:\s*(?:is|of|at|as|a|an|:|=|->|\(|\*\*)){{0,3}}\s*{SCORE}",
    re.IGNORECASE,
)
_MOS = re.compile(
    r"\b(?:mos|mean opinion score|overall\s+(?:\w+\s+)?(?:quality|score|rating))\b"
    rf"[^.\n\d]{{0,60}}?{SCORE}",
    re.IGNORECASE,
)
_FRACTION = re.compile(rf"{NUMBER}\s*(?:/|out of)\s*(?P<top>\d{{1,3}})(?![\w%/]|\.\d)", re.IGNORECASE)


def read_score(text: str, scale: tuple[float, float]) -> tuple[float | None, str | None]:
    """Read the one score that an answer gives.

    Tried in order: a number alone on the first line (``4``, ``**4/5**``), numbers that are declared ("Score: 4", "I
    rate it 4 out of 5"), one fraction of the scale's top. Numbers that disagree, ranges ("3-4") and numbers off the
    scale are no score. Linear in the length of ``text``.

    Returns: the score and None, or None and why there is none.
    """
    lines = [line for line in text.split("\n") if bare(line)]
    if not lines:
        return None, "the answer is empty"
    alone = _ALONE.fullmatch(bare(lines[0]))
    found = [alone] if alone else list(_DECLARED.finditer(text)) or list(_FRACTION.finditer(text))
    return agreed(found, scale, text)


def read_mos(text: str, scale: tuple[float, float]) -> tuple[float | None, str | None]:
    """Read the MOS that a description ends in: its last mention, else as ``read_score``, else its last line."""
    mentions = list(_MOS.finditer(text))
    if mentions:
        return agreed(mentions[-1:], scale, text)
    score, reason = read_score(text, scale)
    if score is None:
        last = _ALONE.fullmatch(bare(text.rstrip().rpartition("\n")[2]))
        if last:
            return agreed([last], scale, text)
    return score, reason


def agreed(found: list[re.Match[str]], scale: tuple[float, float], text: str) -> tuple[float | None, str | None]:
    """Return the one score on the scale that all matches of ``SCORE`` give."""
    if not found:
        return None, f"no score in {shorten(text)!r}"
    values = {float(match["number"]) for match in found}
    tops = {float(match["top"]) for match in found if match["top"]}
    low, high = scale
    if tops - {high}:
        return None, f"a score out of {max(tops - {high}):g}, but the scale is {low:g} to {high:g}"
    if len(values) > 1:
        return None, f"several scores: {', '.join(f'{value:g}' for value in sorted(values))}"
    value = values.pop()
    return (value, None) if low <= value <= high else (None, f"{value:g} is off the scale {low:g} to {high:g}")
