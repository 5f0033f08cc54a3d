"""Small helpers to read what models and people write around a label."""

from __future__ import annotations

import re
import unicodedata

_AROUND = (
    " \t\r\n\v\f\u00a0\u200b\u200c\u200d\u2060\ufeff\ufe0f\u20e3*_`\"'“”‘’«»()[]{}<>【】「」《》;:!?。，、；：！？#\\"
)
_BEHIND = _AROUND + ".,"  # not in front: ".1" is a number
_BULLET = re.compile(r"^[-•·–—+]\s+")


def bare(line: str) -> str:
    """Strip white space, Markdown, quotes, brackets, a bullet and final punctuation from a line, and fold its case.

    Signs and digits stay: ``-1``, ``1.5`` and ``2/10`` are not ``1``, ``1`` and ``2``.
    """
    stripped = unicodedata.normalize("NFKC", line).lstrip(_AROUND).rstrip(_BEHIND)
    return _BULLET.sub("", stripped).lstrip(_AROUND).rstrip(_BEHIND).casefold()


def listed(values: object) -> str:
    """Join allowed values for an error message."""
    return ", ".join(str(value) for value in values)  # type: ignore[attr-defined]
