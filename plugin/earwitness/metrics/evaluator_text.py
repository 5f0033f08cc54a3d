"""What a text LLM's grading reply says: its score, and whether two texts agree in each of the eight dimensions.

The reply formats are those that the SpeechEval evaluators ask for (Appendix C.2, figures 20 to 22). Replies are free
text, so both readers ignore case, Markdown and full-width punctuation, and return ``None`` rather than a guess.
"""

from __future__ import annotations

import re

DIMENSIONS = (
    "Overall Quality",
    "Intelligibility",
    "Distortion",
    "Speech Rate",
    "Dynamic Range",
    "Emotional Impact",
    "Artistic Expression",
    "Subjective Experience",
)
CONSISTENCIES = ("Consistent", "Inconsistent", "Fail")
HIGHEST_SCORE = 10

_FULL_WIDTH = str.maketrans("：／（）［］，．｜－～", ":/()[],.|-~")
_MARKUP = re.compile(r"[*`#>]+|(?<![a-zA-Z0-9])_+|_+(?![a-zA-Z0-9])")
# "Score:", "Final score (0-10):", "Score for Answer_2 =", '"score":', or "Score" alone on its line as a heading does.
_SCORE_LABEL = re.compile(
    r"\bscore\b[\"']?(?:[ \t]+(?:for|of)[ \t]+[\w ]{1,30})?[ \t]*(?:\([^)\n]*\))?[ \t]*(?:[:=]|\n)", re.IGNORECASE
)
_NUMBER = re.compile(r"[\s\"'\[(<]*([+-]?(?:\d+(?:\.\d+)?|\.\d+))(?!\w)")
_OUT_OF_TEN = re.compile(r"[\])>\"']*[ \t]*(?:/|out[ \t]+of|of)[ \t]*(?:10|ten)\b(?:\.0+\b)?", re.IGNORECASE)
# What follows makes it a range, a list, a fraction, a percentage or a number of another form: not one number.
_NOT_ALONE = re.compile(
    r"[.,]?\d|[ \t]*%|[ \t]*(?:-|–|—|~|/|,|→|->|to\b|or\b|and\b)?[ \t]*[+-]?\d|[ \t]*/|[ \t]+out[ \t]+of\b",
    re.IGNORECASE,
)


def _plain(text: str) -> str:
    return _MARKUP.sub("", text.translate(_FULL_WIDTH))


def extract_score(reply: str | None) -> float | None:
    """The number right after the last "Score" label of a reply.

    "/10" and "out of 10" are dropped. ``None`` if there is no label, if what follows the last one is not a single
    number (a range, a percentage, words), or if the number is outside 0..10.
    """
    text = _plain(reply or "")
    labels = list(_SCORE_LABEL.finditer(text))
    if not labels:
        return None
    number = _NUMBER.match(text, labels[-1].end())
    if number is None:
        return None
    scale = _OUT_OF_TEN.match(text, number.end())
    if _NOT_ALONE.match(text, scale.end() if scale else number.end()):
        return None
    score = float(number.group(1))
    return score if 0 <= score <= HIGHEST_SCORE else None


_ASPECT = "|".join(r"[ \t]+".join(map(re.escape, name.split())) for name in DIMENSIONS)
_BULLET = r"^[ \t]*(?:[-+•|][ \t]*|\d+[.)][ \t]*)*"
_LABEL = r"(?:conclusion[ \t]+)?consistency"
_HEADING = re.compile(rf"{_BULLET}(?P<aspect>{_ASPECT})[ \t:(–—-]*$", re.IGNORECASE)
_STATEMENT_START = re.compile(r"[ \t;,(]+(?=conclusion[ \t]+consistency\b|extracted[ \t]+conclusion\b)", re.IGNORECASE)
_STATED = re.compile(
    rf"{_BULLET}(?:{_LABEL}[ \t]+(?:for|of)[ \t]+(?P<after>{_ASPECT})"
    rf"|(?P<before>{_ASPECT})(?:[ \t]+{_LABEL})?"
    rf"|{_LABEL}\)?)[ \t]*[:=|–—-][ \t|\"'\[(<]*(?P<rest>.*)$",
    re.IGNORECASE,
)
_OPENING = re.compile(rf"{_BULLET}[\"'\[(<]*")
_VALUE = re.compile(r"(?P<value>consistent|inconsistent|fail)(?=[ \t]*(?:$|[|.,;:!()\]\[>\"']))", re.IGNORECASE)


def extract_consistency(reply: str | None) -> dict[str, str | None]:
    """For each of the eight dimensions "Consistent", "Inconsistent", "Fail", or ``None`` where the reply states none.

    Read are lines such as ``Conclusion Consistency for Distortion: Consistent``, the same label under a heading that
    names the dimension, ``Distortion: Consistent``, and table rows; the value may stand on the next line. A statement
    belongs to its own dimension only, and the last one about a dimension counts.
    """
    # Replies that come back as one line are cut where a new statement begins.
    text = _STATEMENT_START.sub("\n", _plain(reply or ""))
    found: dict[str, str | None] = dict.fromkeys(DIMENSIONS)
    section: str | None = None
    awaited = False
    for line in filter(str.strip, text.splitlines()):
        stated, heading = _STATED.match(line), _HEADING.match(line)
        if stated:
            named, rest = stated["after"] or stated["before"], stated["rest"]
            section = _canonical(named) if named else section
        elif heading:
            section, rest = _canonical(heading["aspect"]), ""
        else:
            rest = _OPENING.sub("", line) if awaited else ""
        value = _VALUE.match(rest)
        if section is not None and value:
            found[section] = value["value"].capitalize()
        awaited = stated is not None and not rest.strip()
    return found


def _canonical(name: str) -> str:
    folded = " ".join(name.split()).casefold()
    return next(dimension for dimension in DIMENSIONS if dimension.casefold() == folded)
