"""How an answer may name a verdict: the labels of the menu, and what people call the clips behind them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from earwitness.judges import authenticity, prose
from earwitness.judges.text import bare
from earwitness.judges.words import FIRST, NOUNS, SECOND, VERBS

TIES = frozenset(("tie", "tied", "draw", "equal", "even", "same", "the same", "no preference", "equally good"))
_ORDINALS = {"first": FIRST, "1st": FIRST, "second": SECOND, "2nd": SECOND}
_NUMBERS = {"1": "one", "2": "two"}
_DIGITS = {word: digit for digit, word in _NUMBERS.items()}
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n[ \n]*")
_NOISE = re.compile(r"[*`\"“”„«»\[\]{}]|\\boxed|\$")


Claims = Callable[[str], tuple[set[str], set[str]]]


@dataclass(frozen=True)
class Names:
    """What a menu calls its verdicts.

    Attributes:
        labels: label without decoration to canonical verdict.
        written: label as the menu writes it to canonical verdict.
        words: other texts that are a verdict when they stand alone.
        sides: stand-in to canonical verdict.
        reference: finds what stand-ins replace, in text whose case is kept.
        stand_in: tells which, from a match.
        claims: collects what a normalised text states and what it concludes.
    """

    labels: dict[str, str]
    written: dict[str, str]
    words: dict[str, str]
    sides: dict[str, str]
    reference: re.Pattern[str]
    stand_in: Callable[[re.Match[str]], str]
    claims: Claims

    def alone(self, line: str) -> str | None:
        """Return the verdict that a line is and nothing else, or None."""
        text = bare(line)
        if text in self.labels:
            return self.labels[text]
        if text in self.words:
            return self.words[text]
        return self.sides.get(self.normalise(line).strip(" .,:;!?()#>-"))

    def normalise(self, text: str) -> str:
        """Return the text folded, without Markdown, quotes and runs of blanks, with stand-ins for what it names."""
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
        text = _LINE_ENDS.sub("\n", _BLANKS.sub(" ", _NOISE.sub("", text)))
        return self.reference.sub(self.stand_in, text).casefold()


@lru_cache(maxsize=64)
def names_of(labels: tuple[tuple[str, str], ...], clip_names: tuple[str, ...]) -> Names:
    """Compile the names of one menu.

    Args:
        labels: (canonical verdict, label) pairs: of first, second, tie, or of real, fake.
        clip_names: what the prompt calls the clips.
    """
    return _truths(labels) if "real" in dict(labels) else _preferences(labels, clip_names)


def _truths(labels: tuple[tuple[str, str], ...]) -> Names:
    patterns = {"real": authenticity.REAL, "fake": authenticity.FAKE}
    for verdict, label in labels:
        patterns[verdict] = f"{re.escape(bare(label))}|{patterns[verdict]}"
    real, fake = patterns["real"], patterns["fake"]
    reference = re.compile(rf"(?<![\w-])(?:(?P<real>{real})|(?P<fake>{fake}))(?![\w-])", re.IGNORECASE)
    return Names(
        labels={bare(label): verdict for verdict, label in labels},
        written={label: verdict for verdict, label in labels},
        words={},
        sides=authenticity.SIDES,
        reference=reference,
        stand_in=lambda match: FIRST if match["real"] else SECOND,
        claims=authenticity.authenticity,
    )


def _preferences(labels: tuple[tuple[str, str], ...], clip_names: tuple[str, ...]) -> Names:
    menu = {bare(label): verdict for verdict, label in labels}
    marks = _marks(dict(labels), clip_names)
    words = {word: verdict for word, verdict in _lone_words(marks, "tie" in menu.values()).items() if word not in menu}

    def stand_in(match: re.Match[str]) -> str:
        mark = match["named"] or match["paren"] or match["bare"]
        if mark is not None:
            return marks[mark.upper()]
        if match["number"] is not None:
            return marks[_DIGITS[match["number"].casefold()]]
        if match["label"] is not None:
            return FIRST if menu[bare(match["label"])] == "first" else SECOND
        return _ORDINALS[(match["ordinal"] or match["alone"]).casefold()]

    return Names(
        labels=menu,
        written={label: verdict for verdict, label in labels},
        words=words,
        sides=prose.SIDES,
        reference=re.compile("|".join(_references(labels, marks))),
        stand_in=stand_in,
        claims=prose.preferences,
    )


def _marks(labels: dict[str, str], clip_names: tuple[str, ...]) -> dict[str, str]:
    """Return the last characters of a pair of names that differ in nothing else, such as 1 and 2."""
    marks: dict[str, str] = {}
    pairs = [clip_names] if len(clip_names) == 2 else []
    if {"first", "second"} <= labels.keys():
        pairs.insert(0, (labels["first"], labels["second"]))
    for pair in pairs:
        one, two = (bare(name) for name in pair)
        if one[:-1] == two[:-1] and one[-1:].isalnum() and two[-1:].isalnum() and one[-1] != two[-1]:
            for mark, side in ((one[-1].upper(), FIRST), (two[-1].upper(), SECOND)):
                marks.setdefault(mark, side)
    return marks


def _lone_words(marks: dict[str, str], has_tie: bool) -> dict[str, str]:
    words = {word: prose.SIDES[side] for word, side in _ORDINALS.items()}
    words.update({_NUMBERS[mark]: prose.SIDES[side] for mark, side in marks.items() if mark in _NUMBERS})
    if has_tie:
        words.update(dict.fromkeys((*TIES, "t"), "tie"))
    return words


def _references(labels: tuple[tuple[str, str], ...], marks: dict[str, str]) -> list[str]:
    sided = [bare(label) for verdict, label in labels if verdict in ("first", "second")]
    whole = "|".join(re.escape(label) for label in sided if len(label) > 1) or "(?!)"
    mark = f"[{''.join(map(re.escape, marks))}]" if marks else "(?!)"
    any_case = f"(?i:{mark})"
    numbers = "|".join(word for digit, word in _NUMBERS.items() if digit in marks) or "(?!)"
    # After a mark: no word, no decimals, no "out of ten", no percent.
    end = r"(?![\w%])(?![.,:/]\d)(?!\s*/\s*\d)"
    after_ordinal = rf"(?=\s+{VERBS}\b|\s*[.,;:!?)]|\s*$)"
    return [
        rf"(?i:\b(?:the\s+)?{NOUNS}s?)[\s_-]?(?i:number\s|no\.\s?)?#?\s?"
        rf"(?:\((?P<paren>{any_case})\)|(?P<named>{any_case}){end}|(?P<number>(?i:{numbers}))\b)",
        rf"(?<!\w)(?P<label>(?i:{whole}))(?!\w)",
        rf"(?i:\b(?:the\s+)?(?P<ordinal>first|second|1st|2nd)\s+(?:{NOUNS}|one)\b)",
        rf"(?i:\bthe\s+(?P<alone>first|second|1st|2nd)\b)(?i:{after_ordinal})",
        rf"(?<!\d:)(?<![\w.,/%$+'-])(?P<bare>{mark}){end}(?!['-]\w)",
    ]
