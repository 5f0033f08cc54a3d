"""Reading ``Name: value`` lines, with whatever decoration models put around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from earwitness.judges.numbers import SCORE, agreed
from earwitness.judges.text import bare

_FIELD = re.compile(r"^[\s*_`#>•·–-]{0,12}(?P<name>[^\W\d_][^:：=\n]{0,80}?)[\s*_`]{0,6}[:：=](?P<value>.*)$")
_SCORED = re.compile(rf"{SCORE}(?:\s*[(\[,;:–—-]\s*(?P<note>.*))?[\s.]*$")


def fields_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield (line, name, value) of each line that has the form of a field; the name is folded, the value stripped."""
    for line in text.split("\n"):
        match = _FIELD.match(line)
        if match:
            yield line.strip(), " ".join(match["name"].casefold().split()), match["value"].strip(" \t\r*_`")


def scored(value: str, scale: tuple[float, float]) -> tuple[float | None, str | None, str]:
    """Read the score that a value begins with.

    Returns: the score or why there is none, and the note behind it without brackets: ``2/5 (artifacts)`` gives
        (2.0, None, "artifacts").
    """
    match = _SCORED.match(value)
    if match is None:
        return None, f"no score in {value!r}", ""
    score, reason = agreed([match], scale, value)
    return score, reason, (match["note"] or "").strip(" \t()[].;")


def level(value: str, scale: tuple[float, float] | tuple[str, ...]) -> tuple[float | str | None, str | None]:
    """Read a value on a scale of numbers or of words."""
    if not isinstance(scale[0], str):
        low, high = (float(bound) for bound in scale)
        return scored(value, (low, high))[:2]
    for word in scale:
        if bare(value) == bare(str(word)):
            return word, None
    return None, f"{value!r} is not on the scale {', '.join(map(str, scale))}"
