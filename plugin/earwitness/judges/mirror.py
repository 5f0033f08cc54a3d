"""Turning a text about two clips around, for the same clips in the other order.

``Response 1 is cleaner than Response 2`` becomes ``Response 2 is cleaner than Response 1``. Exchanged, all at once: the
clip names, lists behind their noun (``responses 1 and 2``), ordinals before it (``the first response``, ``the second
clip``) and, where the names end in letters, capitals that stand where a name stands (``B is better than A``). ``The
former`` and ``the latter`` stay: they follow the order of mention, which is exchanged already. A text that may point
at a clip in any other way is not guessed at.
"""

from __future__ import annotations

import re
from functools import lru_cache

_ORDINALS = {"first": "second", "second": "first", "1st": "2nd", "2nd": "1st"}
_CLIP_NOUNS = "response|sample|audio|clip|recording|speech"
_OTHER_NOUNS = "answer|option|choice|candidate|reply|output|version|speaker|system|one"
# Between a name and what is said of it: tells "A is clearer" from "A clear voice".
_VERBS = (
    "is|was|has|had|are|were|sounds|seems|appears|feels|does|and|or|vs|versus|outperforms|performs|shows|features|"
    "suffers|exhibits|excels|wins|loses|contains|lacks|scores|offers|delivers|presents|demonstrates|maintains|conveys|"
    "uses|remains|stands|provides"
)
# Words before a name: tells "than B" from "vitamin B" or "option B".
_LEADS = (
    "than|and|or|while|whereas|but|that|to|over|in|of|with|for|by|between|both|from|as|although|though|if|because|"
    "since|so|then|vs|versus|like|is|favors|favours|prefer|prefers|choose|pick|overall"
)


def mirror_text(text: str, clip_names: tuple[str, ...]) -> str | None:
    """Exchange the two clips in a text.

    Args:
        text: a rationale or chain of thought.
        clip_names: what the prompt calls the two clips, such as ("Response 1", "Response 2").

    Returns: the text for the other order, or None when it may point at a clip in a way that is not recognised.
        Applied twice it gives the text back, or None ("B muffles" becomes "A muffles"). Linear in its length.
    """
    pointer, unknown = _patterns(clip_names)
    if unknown.search(pointer.sub("\0", text)):
        return None
    first, second = clip_names
    marks = {first[-1]: second[-1], second[-1]: first[-1]}

    def exchange(match: re.Match[str]) -> str:
        found = match.group()
        if match["ordinal"]:
            other = _ORDINALS[match["ordinal"].casefold()]
            return other.capitalize() if found[0].isupper() else other
        if match["name"] in (first, second) and not _share_stem(clip_names):
            return second if found == first else first
        # Every other pointer is text of its own with marks in known places.
        return "".join(
            marks[character] if match.start() + place in _mark_places(match) else character
            for place, character in enumerate(found)
        )

    return pointer.sub(exchange, text)


def _mark_places(match: re.Match[str]) -> set[int]:
    return {match.start(group) for group in ("mark", "one", "other", "letter") if match[group]}


def _share_stem(clip_names: tuple[str, ...]) -> bool:
    first, second = clip_names
    return first[:-1] == second[:-1] and first[-1].isalnum() and second[-1].isalnum()


@lru_cache(maxsize=32)
def _patterns(clip_names: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile what is exchanged, and what else may point at a clip."""
    first, second = clip_names
    marks = f"[{re.escape(first[-1])}{re.escape(second[-1])}]" if _share_stem(clip_names) else "(?!)"
    stem = r"\s*".join(map(re.escape, first[:-1].split()))
    nouns = f"(?:{_CLIP_NOUNS})"
    letters = marks if first[-1].isalpha() and _share_stem(clip_names) else "(?!)"
    # "A" is a name before a verb, punctuation or the end, and may be the article before anything else.
    article = rf"(?!A(?!['’]s\b|\s+(?:{_VERBS})\b|[ \t]*(?:[^\w\s]|\n|\Z)))"
    pointer = "|".join(
        (
            rf"\b(?i:{nouns}s|{stem})\s*(?P<one>{marks})\s*(?:,|/|&|\b(?:and|or|vs|versus)\b)\s*(?P<other>{marks})(?!\w)",
            rf"\b(?P<name>(?i:{stem})\s*(?P<mark>{marks})(?!\w)|{re.escape(first)}\b|{re.escape(second)}\b)",
            rf"\b(?P<ordinal>(?i:first|second|1st|2nd))(?=\s+(?i:{nouns})\b)",
            rf"(?:\A|[\n(\[:;,.!?=<>/&–—-][ \t]{{0,4}}|\b(?i:{_LEADS})\.?\s+)"
            rf"{article}(?P<letter>{letters})(?!\w|['’](?!s\b)\w)",
        )
    )
    unknown = "|".join(
        (
            rf"(?<![\w'’]){letters}(?!\w|['’](?!s\b)\w)",
            rf"(?i:\b(?:{_CLIP_NOUNS})s?)\s{{0,3}}#?\s{{0,3}}(?:[12]|[AB])(?!\w)",
            rf"(?i:\b(?:{_OTHER_NOUNS})s?)\s{{0,3}}#?\s{{0,3}}{marks}(?!\w)",
            r"(?i:\b(?:than|over|vs\.?|versus)\s+)[12](?![\w%])",
            rf"(?<![\w.,])[12]\s+(?:{_VERBS})\b",
            rf"(?i:\bthe\s+(?:first|second|1st|2nd))(?=\s+(?:{_OTHER_NOUNS}|{_VERBS})\b|\s*[^\w\s-]|\s*\Z)",
        )
    )
    return re.compile(pointer), re.compile(unknown)
