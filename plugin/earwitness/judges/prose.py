"""Reading which clip a text prefers.

Conservative on purpose. Plain statements count ("Response 2 is better", "I prefer the first one", "neither is better").
Questions, conditions and guesses do not; nor does a denied preference ("2 is not better than 1" is neither 1 nor a
tie), nor praise of a property ("clearer", "a better tone"). Statements that contradict each other cancel, unless one
of them concludes ("overall", "therefore").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from earwitness.judges.words import EDGE, FIRST, NOUNS, SECOND, SIDE, VERBS

SIDES = {FIRST: "first", SECOND: "second"}

_OTHER = {FIRST: "second", SECOND: "first"}
_NO_SIDE = rf"[^,()\n{FIRST}{SECOND}]"
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+|;")
_CLAUSE = re.compile(
    r",?\s(?:but|however|although|though|while|whereas|yet|even if)\b,?|^\s*(?:while|although|though)\b"
)
_CONCLUDES = re.compile(
    r"\b(?:overall|in conclusion|to conclude|in summary|to sum up|therefore|thus|hence|consequently|ultimately|"
    r"in the end|all in all|finally|final)\b"
)
_HEDGED = re.compile(r"\b(?:if|whether|unless|might|may|could|perhaps|maybe|possibly|either|suppose|assuming)\b|\?\s*$")
_DENIED = re.compile(
    r"(?:n't|\b(?:not|never|neither|nor|cannot|hardly|doubt|deny|denies|disagree|false|wrong|untrue|unclear|hard|"
    r"difficult|unable|impossible|no way|by no means|no evidence|without))\b[^,:;()]*$"
)
_REACH = 80  # characters before a statement within which a denial governs it

_ADVERB = r"(?:\s+(?:\w+ly|also|overall|still|itself|here|indeed|just|alone))"
_MID = rf"(?:\s*,{_NO_SIDE}{{1,80}},|\s*\({_NO_SIDE}{{1,80}}\))?{_ADVERB}{{0,2}}"
_FILL = (
    r"(?:\s+(?:(?!hardly|scarcely|barely|rarely|unlikely|possibly|occasionally|supposedly|allegedly|partly)\w+ly|the|a|an|much|far|by|even|still|also|overall|bit|considered|deemed|judged|rated|be|to|more|most|"
    r"my|our|clear|one|way|just|thus|therefore|indeed|somewhat|here)){0,4}"
)
_BETTER = r"(?:better(?!\s+(?:\w+ed|known)\b)|best|superior|preferable|preferred|favou?red|stronger|winner|winning)"
_WORSE = r"(?:worse|worst|inferior|weaker|poorer|loser)"
_QUALITY = r"(?:(?:overall|audio|sound|speech)\s+)?(?:quality|performance)"
_ALONE = rf"(?!\s*(?:,|/|&|or\b|and\b)\s*{SIDE})"
_SINGLE = "".join(rf"(?<!{SIDE} {word} )" for word in ("and", "or", "nor", "&"))
_SUBJECT = rf"{_SINGLE}(?P<side>{SIDE})(?:'s\s+{_QUALITY})?{_MID}"
_IS = r"\s*(?:\b(?:is|was|would be|goes to)\b|:|=|->)(?:\s+\w+ly)?\s*"
_HEAD = rf"(?:\s+(?:{NOUNS}|one|overall|of the two|quality|here)){{0,3}}"

_FOR = (
    rf"{_SUBJECT}\s+{VERBS}{_FILL}\s+{_BETTER}\b",
    rf"{_SUBJECT}\s+(?:demonstrates?|shows?|offers?|exhibits?|has|have|delivers?|provides?|presents?){_FILL}\s+"
    rf"(?:better|superior|higher|best)\s+{_QUALITY}\b",
    rf"{_SUBJECT}\s+(?:beats?|outperforms?|outperformed|surpasses|exceeds|defeats?|outshines|wins?|won)\b",
    rf"\b(?:prefer|choose|chose|pick|picked|select|selected|favou?r|vote for|go with|opt for|recommend)(?:s|ed|red)?"
    rf"(?:\s+(?:the|clip|audio|as|is)){{0,2}}\s+(?P<side>{SIDE}){_ALONE}",
    rf"\b{_BETTER}{_HEAD}{_IS}(?P<side>{SIDE}){_ALONE}",
    rf"\b(?:rate|rated|consider|find|judge|deem)\s+(?P<side>{SIDE})\s+(?:as\s+|to be\s+)?(?:the\s+)?{_BETTER}\b",
    rf"^{EDGE}(?P<side>{SIDE})\s+{_BETTER}(?=\s+than\b|{EDGE}$)",
    rf"^{EDGE}{_BETTER}\s+(?P<side>{SIDE}){EDGE}$",
    rf"^{EDGE}(?:it's|it\s+is|that's|definitely|clearly|i\s+think|i'd\s+say|i\s+say)\s+(?P<side>{SIDE}){EDGE}$",
    rf"^{EDGE}(?P<side>{SIDE})\s*>{{1,3}}\s*(?!(?P=side)){SIDE}{EDGE}$",
)
_AGAINST = (
    rf"{_SUBJECT}\s+{VERBS}{_FILL}\s+{_WORSE}\b",
    rf"{_SUBJECT}\s+(?:{VERBS}\s+not|isn't|wasn't|does(?:n't| not) sound)\s+(?:quite\s+|nearly\s+)?as\s+good\b",
    rf"{_SUBJECT}\s+(?:loses|lost)\b",
    rf"\b{_WORSE}{_HEAD}{_IS}(?P<side>{SIDE}){_ALONE}",
    rf"^{EDGE}(?P<side>{SIDE})\s*<{{1,3}}\s*(?!(?P=side)){SIDE}{EDGE}$",
)

_PLURAL = rf"(?:\s+(?:of\s+)?(?:the\s+|these\s+)?(?:two\s+)?(?:{NOUNS}s?\s+)?(?:{NOUNS}s|them))"
_TWO = rf"(?:\bboth{_PLURAL}?|\bthey|\b(?:the|these)(?:\s+two)?{_PLURAL}|\bthe two|{SIDE}\s*(?:and|&)\s*{SIDE})"
_EQUALLY = (
    r"equally\s+(?:good|bad|well|poor|poorly|strong|weak|matched|preferable|acceptable|effective|helpful|honest|"
    r"truthful|accurate|correct|incorrect|valid|natural|fine|great|excellent)\b"
)
_ALIKE = r"(?:equal|tied|identical|the same|same|comparable|similar|indistinguishable|equivalent|on par|on a par|alike)"
# Not "similar speech rates" and not "similar in noise": those are properties.
_WHOLLY = (
    r"(?=\s*(?:[.,;:!)]|$)|\s+(?:overall|here|and|quality|in\s+(?:overall\s+)?quality|in\s+terms|to each other|"
    r"in\s+(?:this|every|all)\s+(?:aspect|respect)s?)\b)"
)
_TIE = (
    rf"\b{_EQUALLY}",
    rf"{_TWO}(?:\s*\([^()\n]{{1,40}}\))?\s+{VERBS}{_FILL}\s+{_ALIKE}\b{_WHOLLY}",
    rf"{_TWO}(?:\s*\([^()\n]{{1,40}}\))?\s+(?:demonstrate|show|have|exhibit|offer|are of){_FILL}\s+"
    rf"(?:comparable|similar|equal|equivalent|same|identical)\s+{_QUALITY}\b",
    rf"\bneither\b(?:\s+(?:of\s+)?(?:the\s+|these\s+)?(?:two\s+)?(?:{NOUNS}s?|them|one))?(?:\s+{SIDE}\s+nor\s+{SIDE})?\s+"
    rf"(?:wins|{VERBS}{_FILL}\s+(?:{_BETTER}|worse)\b)",
    r"\bno\s+(?:(?:clear|real|significant|noticeable|discernible|meaningful|perceptible|audible|obvious|overall)\s+){0,2}"
    r"(?:difference|winner|preference)\b",
    r"\b(?:isn't|is\s+not)\s+(?:a|any)\s+(?:(?:clear|real|significant|noticeable|meaningful)\s+){0,2}(?:difference|winner)\b",
    r"\b(?:it\s+is|it's|this\s+is|that\s+is|that's|is|declare|call\s+it|i\s+(?:choose|say|indicate|pick)|go\s+with)\s+"
    r"(?:(?:a|as|clear|complete|perfect|basically|essentially)\s+){0,3}(?:tie|draw|tied)\b(?!-)",
    r"\b(?:resulting|results?|leading|leads|ends?|ended|ending)\s+(?:in|to)\s+a\s+tie\b(?!-)",
    rf"{SIDE}\s+{VERBS}\s+(?:(?:just|exactly|about)\s+)?as\s+good\s+as\s+{SIDE}",
    rf"{SIDE}\s+{VERBS}{_FILL}\s+(?:equal|equivalent|identical|comparable)\s+(?:in\s+quality\s+)?(?:to|with)\s+{SIDE}",
    rf"^{EDGE}(?P<side>{SIDE})\s*={{1,3}}\s*(?!(?P=side)){SIDE}{EDGE}$",
)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], ...], tuple[tuple[re.Pattern[str], dict[str, str]], ...]]:
    """Compile the patterns of ties, and those of preferences with what their side stands for."""
    sided = [(pattern, SIDES) for pattern in _FOR] + [(pattern, _OTHER) for pattern in _AGAINST]
    return tuple(map(re.compile, _TIE)), tuple((re.compile(pattern), verdicts) for pattern, verdicts in sided)


def preferences(text: str) -> tuple[set[str], set[str]]:
    """Collect which clip a normalised text prefers: "first", "second", "tie"; see ``collect``."""
    return collect(text, _claims)


def collect(text: str, claims: Callable[[str], Iterator[str]]) -> tuple[set[str], set[str]]:
    """Collect what the plain statements of a text claim.

    Args:
        text: from ``Names.normalise``: folded, with stand-ins for what the menu offers.
        claims: of one clause.

    Returns: all claims, and those of clauses that conclude. Linear in the length of ``text``.
    """
    stated: set[str] = set()
    concluded: set[str] = set()
    for sentence in _SENTENCE.split(text):
        if _HEDGED.search(sentence):
            continue
        for clause in _CLAUSE.split(sentence):
            found = set(claims(clause))
            stated |= found
            if _CONCLUDES.search(clause):
                concluded |= found
    return stated, concluded


def _claims(clause: str) -> Iterator[str]:
    ties, preferred = _patterns()
    for pattern in ties:
        for match in pattern.finditer(clause):
            if not _denied(clause, match.start()):
                yield "tie"
    for pattern, verdicts in preferred:
        for match in pattern.finditer(clause):
            if not _denied(clause, match.start()):
                yield verdicts[match["side"]]


def _denied(clause: str, start: int) -> bool:
    return _DENIED.search(clause[max(0, start - _REACH) : start]) is not None
