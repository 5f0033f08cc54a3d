"""Telling from a decoded prompt which reference row it asks about."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

from earwitness.metrics.pairwise_files import Reference

_MARKS = re.compile(r"<\|[^|<>]*\|>|<audio>")
_SPACE = re.compile(r"\s+")
_KEYED = re.compile(r"\brow=(\d+)\b.*\binstruction_sha256=([0-9a-f]{64})\b", re.DOTALL)


def row_key(prompt: str | None) -> int | None:
    """The row, from 0, that a keyed prompt names; ``None`` for real prompts.

    A keyed prompt stands in for a long one: it holds ``row=N`` and ``instruction_sha256=HEX`` of the instruction.
    """
    match = _KEYED.search(prompt or "")
    return int(match[1]) if match else None


class Questions:
    """The distinct prompts of the references."""

    def __init__(self, references: Sequence[Reference]) -> None:
        """Index the prompts.

        Args:
            references: in order; rows without a prompt match nothing.
        """
        self._texts = [None if row.prompt is None else _plain(row.prompt) for row in references]
        self._hashes = [None if row.prompt is None else _sha256(row.prompt) for row in references]
        self._rows: dict[str, list[int]] = {}
        for at, text in enumerate(self._texts):
            if text is not None:
                self._rows.setdefault(text, []).append(at)

    def asks(self, prompt: str | None, at: int) -> bool | None:
        """Whether a decoded prompt asks the question of reference ``at``; ``None`` where one of them has no prompt."""
        text = self._texts[at]
        if prompt is None or text is None:
            return None
        keyed = _KEYED.search(prompt)
        return keyed[2] == self._hashes[at] if keyed else text in _plain(prompt)

    def rows_like(self, at: int) -> list[int]:
        """Indices of the references with the same prompt as reference ``at``, itself included."""
        text = self._texts[at]
        return [at] if text is None else self._rows[text]

    def find(self, prompt: str | None) -> list[int]:
        """Indices of the references whose question a decoded prompt asks; empty where there are none."""
        if prompt is None:
            return []
        keyed = _KEYED.search(prompt)
        if keyed:
            text = self._by_hash.get(keyed[2])
            return [] if text is None else self._rows[text]
        plain = _plain(prompt)
        begin = plain.find(self._common_beginning)
        text = self._longest_beginning(plain[begin:]) if begin >= 0 else None
        return [] if text is None else self._rows[text]

    def _longest_beginning(self, text: str) -> str | None:
        """The longest known prompt that ``text`` begins with: bisection, then shorter and shorter beginnings."""
        while text:
            place = bisect_right(self._sorted, text) - 1
            if place < 0:
                return None
            nearest = self._sorted[place]
            if text.startswith(nearest):
                return nearest
            text = _common(text, nearest)
        return None

    @cached_property
    def _by_hash(self) -> dict[str, str]:
        pairs = zip(self._hashes, self._texts, strict=True)
        return {known: text for known, text in pairs if known is not None and text is not None}

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(text for text in self._rows if text)

    @cached_property
    def _common_beginning(self) -> str:
        return _common(self._sorted[0], self._sorted[-1]) if self._sorted else ""


def _common(one: str, other: str) -> str:
    """What two texts begin with; of a sorted list the first and the last have what all have."""
    differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differing, min(len(one), len(other)))]


def _plain(prompt: str) -> str:
    """A prompt without placeholders, control tokens and differences in white space."""
    return _SPACE.sub(" ", _MARKS.sub("", prompt)).strip()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
