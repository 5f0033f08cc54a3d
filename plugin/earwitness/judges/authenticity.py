"""How an answer says that speech is real or fake.

Conservative like ``prose.py``: statements count, questions and conditions do not. Unlike that of a preference, a denial
has only one meaning here: what is not fake is real.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from earwitness.judges.prose import collect
from earwitness.judges.words import EDGE, FIRST, SECOND, SIDE

SIDES = {FIRST: "real", SECOND: "fake"}
_OPPOSITE = {FIRST: SECOND, SECOND: FIRST}

REAL = r"real|genuine|authentic|bona[\s-]?fide|human"
FAKE = (
    r"(?:deep[\s-]?)?fake|spoof(?:ed)?|synthetic|synthesi[sz]ed|(?:ai|machine|computer|artificially)[\s-]generated|"
    r"artificial"
)

_STATED = (
    re.compile(
        rf"\b(?:is|was|are|be|sounds?|appears?|seems?)(?P<denied>n't|\s+not)?"
        rf"(?:\s+(?:to\s+be|\w+ly|most|a|an|the|more|indeed|in\s+fact)){{0,4}}\s+(?P<side>{SIDE})(?!\s*(?:or\b|/)|\s+a?\s*or\b)"
    ),
    re.compile(
        rf"^{EDGE}(?P<denied>not\s+)?(?:most\s+|\w+ly\s+|an?\s+){{0,3}}(?P<side>{SIDE})"
        rf"(?:\s+(?:speech|voice|audio|recording|clip|sample))?{EDGE}$"
    ),
)


def authenticity(text: str) -> tuple[set[str], set[str]]:
    """Collect what a normalised text says of the speech: "real", "fake"; see ``prose.collect``."""
    return collect(text, _claims)


def _claims(clause: str) -> Iterator[str]:
    for pattern in _STATED:
        for match in pattern.finditer(clause):
            side = match["side"]
            yield SIDES[_OPPOSITE[side] if match["denied"] else side]
