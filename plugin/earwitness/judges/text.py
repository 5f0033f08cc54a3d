"""Small helpers to read what models and people write around a label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from earwitness.errors import UserError

_AROUND = (
    " \t\r\n\v\f\u00a0\u200b\u200c\u200d\u2060\ufeff\ufe0f\u20e3*_`\"'“”‘’«»()[]{}<>【】「」《》;:!?。，、；：！？#\\"
)
_EMPHASIS = " \t\r\n\v\f\u00a0\ufeff*_`\"'“”‘’«»()[]{}<>【】「」"
_BEHIND = _AROUND + ".,"  # not in front: ".1" is a number
_BULLET = re.compile(r"^[-•·–—+]\s+")


def bare(line: str) -> str:
    """Strip white space, Markdown, quotes, brackets, a bullet and final punctuation from a line, and fold its case.

    Signs and digits stay: ``-1``, ``1.5`` and ``2/10`` are not ``1``, ``1`` and ``2``.
    """
    stripped = unicodedata.normalize("NFKC", line).lstrip(_AROUND).rstrip(_BEHIND)
    return _BULLET.sub("", stripped).lstrip(_AROUND).rstrip(_BEHIND).casefold()


def barely(line: str) -> str:
    """Strip white space, Markdown emphasis, quotes, brackets and final punctuation from a line, and fold its case."""
    return line.strip(_EMPHASIS).rstrip(_EMPHASIS + ".,;:!?。，；：！？").casefold()


def listed(values: Iterable[object]) -> str:
    """Join allowed values for an error message."""
    return ", ".join(str(value) for value in values)


def refuse_unknown(where: str, keys: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse keys that are not allowed.

    Raises:
        UserError: names the first of them, the closest that is allowed, and all that are.
    """
    for key in keys:
        if key not in allowed:
            close = get_close_matches(str(key), allowed, 1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise UserError(f"{where}: unknown key {key!r}{hint}; allowed: {listed(allowed)}")
