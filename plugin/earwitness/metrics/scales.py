"""The scale that ratings are given on: numbers between two bounds, or words from worst to best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from earwitness.errors import UserError

SPEECH_RATES = ("slow", "slightly slow", "appropriate", "slightly fast", "fast")
SAME_SPEECH_RATE = {"suitable": "appropriate"}
"""SpeechEval's released data write "suitable" where the paper writes "appropriate"."""


def speech_rate(name: str) -> str | None:
    """The category of ``SPEECH_RATES`` that a word names, ``None`` if none."""
    folded = " ".join(name.casefold().split())
    rate = SAME_SPEECH_RATE.get(folded, folded)
    return rate if rate in SPEECH_RATES else None


@dataclass(frozen=True)
class Scale:
    """What counts as a rating.

    Attributes:
        low: least number.
        high: greatest number.
        levels: words from worst to best instead; they count as 1, 2, 3 ...

    Raises:
        UserError: bounds that are no range, or fewer than two different words.
    """

    low: float = 1.0
    high: float = 5.0
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.levels and not self.low < self.high:
            raise UserError(f"--scale {self.low:g} {self.high:g}: the first must be less than the second")
        if self.levels and len(set(map(str.casefold, self.levels))) < max(2, len(self.levels)):
            raise UserError(f"--levels {','.join(self.levels)}: give at least two different words, worst first")

    def number(self, value: Any) -> float | None:
        """The rating that a value stands for, ``None`` if it is none."""
        if self.levels:
            words = [level.casefold() for level in self.levels]
            word = value.strip().casefold() if isinstance(value, str) else None
            return words.index(word) + 1.0 if word in words else None
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            return None
        return number if self.low <= number <= self.high else None

    def allowed(self) -> str:
        """The scale for a message."""
        return ", ".join(self.levels) if self.levels else f"a number from {self.low:g} to {self.high:g}"


FIVE_POINTS = Scale()
