r"""Reading the verdict of a judge with a menu: tolerant of how it is written, never inventing one.

An answer is read by the first of these rules that applies.

1. Its first line is a label of the menu and nothing else, up to white space, Markdown, quotes, brackets, case and
   final punctuation (``**Tie**``, ``[[1]]``, ``2.``). All that follows is rationale. ``strict`` stops here; without it
   bullets, headings and full-width characters are read through as well.
2. It is JSON with a verdict under a usual key, or its first line is another name of a verdict and nothing else
   (``Response 1``, ``the second``, ``Two``, ``T``).
3. It declares a verdict: ``Answer: 2``, ``The verdict is a tie``, ``[[B]]``, ``\boxed{1}``, or a line further
   down is a label and nothing else. Final declarations outrank others; those that remain must agree.
4. Its first line begins with a label and goes on with an explanation that does not contradict it (``1 - clearer``).
5. It states a preference in plain prose (``judges/prose.py``).

Anything else is unscored, with the reason: ``12``, ``3``, ``2/10``, ``1 or 2?``, a heading, a list of both clips.
For judges that write the label last (ALLD's A/B) rule 1 looks at the last line instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from earwitness.errors import shorten
from earwitness.judges.judgement import Judgement
from earwitness.judges.naming import Names, names_of
from earwitness.judges.sections import split_response
from earwitness.judges.spec import SAGELM, JudgeSpec
from earwitness.judges.text import bare, barely
from earwitness.judges.words import EDGE, SIDE

_WORD = (
    r"(?:answer|verdict|result|compari(?:s|ss)i?on[_ ]result|judge?ment|decision|choice|preference|winner|output|label|"
    r"conclusion|selection|pick|vote|tie[- ]?break(?:er)?|response|better|preferred|best)"
)
_LEAD = (
    r"(?:(?:so|thus|therefore|hence|overall|in conclusion|and|my|the|this|correct|better|best|preferred|winning),?\s+)"
)
_DECLARATION = re.compile(
    rf"(?:^|\n|[.!?;,:]\s)\W{{0,8}}{_LEAD}{{0,4}}(?P<final>final\s+)?{_WORD}"
    rf"\s*(?:\b(?:is|would be)\b:?|:|=|->|=>|→|-\s)\s*"
    rf"(?:clearly\s+|for\s+)?(?:(?P<side>{SIDE})|(?:a\s+)?(?:tie|tied|draw)\b(?!-))"
    rf"(?!\w|\s*(?:,|/|&|or\b|and\b|vs\b)\s*(?:{SIDE}|tie\b))"
)
_TITLE = re.compile(rf"{_LEAD}{{0,3}}(?:final\s+)?{_WORD}")
_KEY = re.compile(rf"(?:final_)?{_WORD}(?:_response)?", re.IGNORECASE)
_FENCE = re.compile(r"```\w*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_LITERAL = re.compile(r"\[\[([^\[\]\n]{1,40})\]\]|\\boxed\{([^{}\n]{1,40})\}")
_EXPLAINED = re.compile(
    rf"[\W_]{{0,12}}?(?P<label>{SIDE}|tie|tied|draw)[_')]{{0,4}}"
    rf"(?:\s?[:,;.)—–-]{{1,4}}\s|\s?\(|\s(?:because|since|as|due to)\b)(?P<reason>.*)"
)

# "1 - 2", "1: 2 hours", "A, B": two of a list or a range, no explanation.
_COUNTS = re.compile(r"[\W_]{0,12}[^\W_]{1,40}[^\w(]{1,12}\d")
_NAMES_ONLY = re.compile(rf"{EDGE}{SIDE}\s*(?:[^\w\s]|$)")


@dataclass(frozen=True)
class Verdict:
    """What an answer says.

    Attributes:
        verdict: canonical: "first", "second", "tie", or the canonical names of another menu; None when unscored.
        unscored: why there is no verdict; None when there is one.
        rationale: the answer without its verdict line; the whole answer where the verdict is part of a sentence.
        thinking: what stood between ``<think>`` and ``</think>``.
    """

    verdict: str | None = None
    unscored: str | None = None
    rationale: str | None = None
    thinking: str | None = None


def parse_verdict(text: Any, spec: JudgeSpec = SAGELM, strict: bool = False) -> Verdict:
    """Read the verdict of an answer. Takes any value, raises nothing, in time linear in its length.

    Args:
        text: what the model wrote; None and NaN are missing answers, other numbers count as their digits.
        spec: the judge, for its menu and whether it thinks; by default SageLM's 1, 2, Tie.
        strict: accept only a text whose first line is a label (rule 1 of this module).
    """
    if not spec.labels:
        return Verdict(unscored=f"judge {spec.type!r} gives no verdicts")
    if spec.kind.target == "text":
        judgement = spec.kind.read(text, spec)
        return Verdict(judgement.verdict, judgement.unscored, judgement.rationale, judgement.thinking)
    if strict and not isinstance(text, str | None):
        return Verdict(unscored=f"not text: {shorten(repr(text))}")
    sections = split_response(text, spec.chain_of_thought)
    if sections.answer is None:
        return Verdict(unscored=sections.problem, thinking=sections.thinking)
    if strict and not spec.chain_of_thought and _first_line(text) != _first_line(sections.answer):
        # A judge that does not think may write neither tags nor control tokens.
        return Verdict(
            unscored=f"the first line is no label: {shorten(_first_line(text))!r}", thinking=sections.thinking
        )
    return replace(read_answer(sections.answer, spec, strict), thinking=sections.thinking)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def judge_verdict(text: Any, spec: JudgeSpec) -> Judgement:
    """Read an answer whose main result is a verdict."""
    read = parse_verdict(text, spec)
    return Judgement(verdict=read.verdict, rationale=read.rationale, thinking=read.thinking, unscored=read.unscored)


def read_answer(answer: str, spec: JudgeSpec, strict: bool = False) -> Verdict:
    """Read the verdict of an answer whose thought is already taken away; as ``parse_verdict``."""
    names = names_of(tuple(spec.labels.items()), spec.clip_names)
    return _Answer(answer, names, spec.kind.target == "verdict_last").read(strict)


class _Answer:
    """One answer, its thought already taken away, and the names of its menu."""

    def __init__(self, text: str, names: Names, label_last: bool) -> None:
        self.text, self.names, self.label_last = text, names, label_last
        # Lines that are decoration only, such as code fences, carry nothing.
        self.lines = [line for line in text.split("\n") if bare(line)]

    def read(self, strict: bool) -> Verdict:
        if not self.lines:
            return Verdict(unscored="the answer is empty")
        rules = (
            [self._strict_label] if strict else [self._label, self._json, self._name, self._declared, self._explained]
        )
        for rule in rules:
            found = rule()
            if found is not None:
                return self._checked(found)
        if strict:
            return Verdict(unscored=f"the first line is no label: {shorten(self.lines[0])!r}")
        return self._checked(self._stated())

    def _checked(self, found: Verdict) -> Verdict:
        """Refuse what is not on the menu, and a rationale that gives another verdict as the verdict was given."""
        if found.verdict is None:
            return found
        if found.verdict not in self.names.labels.values():
            return Verdict(unscored=f"{found.verdict!r} is not on the menu")
        rationale = (found.rationale or "").strip()
        repeated = self.names.alone(rationale)
        given = {self.names.labels.get(bare(line)) for line in rationale.split("\n")} | {repeated, found.verdict}
        if len(given - {None}) > 1:
            return Verdict(unscored=f"several verdicts: {', '.join(sorted(verdict for verdict in given if verdict))}")
        return Verdict(found.verdict, rationale=None if repeated or not bare(rationale) else rationale)

    def _around(self, line: str) -> str:
        """Return the text without the line that holds the label."""
        before, _, after = self.text.rpartition(line) if self.label_last else self.text.partition(line)
        return before if self.label_last else after

    def _label(self, plain: Callable[[str], str] = bare) -> Verdict | None:
        line = self.lines[-1 if self.label_last else 0]
        verdict = self.names.labels.get(plain(line))
        if verdict is None:
            return None
        if line.strip() not in self.names.written and self._lists_other(verdict):
            return Verdict(unscored="a list of both clips")
        return Verdict(verdict, rationale=self._around(line))

    def _strict_label(self) -> Verdict | None:
        return self._label(barely)

    def _json(self) -> Verdict | None:
        fenced = _FENCE.fullmatch(self.text)
        text = (fenced[1] if fenced else self.text).strip()
        if not text.startswith("{"):
            return None
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        named = [str(value) for key, value in fields.items() if _KEY.fullmatch(key) and isinstance(value, str | int)]
        verdicts = {self.names.alone(value) for value in named}
        if len(verdicts) != 1 or None in verdicts:
            return Verdict(unscored=f"JSON without one verdict: {shorten(text)}")
        return Verdict(verdicts.pop(), rationale=_reason(fields))

    def _name(self) -> Verdict | None:
        line = self.lines[0]
        if line.lstrip().startswith("#") or line.rstrip(" \t*_`").endswith(":"):
            return None  # a heading
        verdict = self.names.alone(line)
        if verdict is None:
            return None
        if self._lists_other(verdict):
            return Verdict(unscored="a list of both clips")
        return Verdict(verdict, rationale=self.text.partition(line)[2])

    def _declared(self) -> Verdict | None:
        lines = self.lines
        if len(lines) > 1 and _TITLE.fullmatch(bare(lines[0])):
            verdict = self.names.alone(lines[1])
            if verdict is not None:
                return Verdict(verdict, rationale=self.text.partition(lines[1])[2])
        finals: set[str] = set()
        others: set[str] = {self.names.labels[text] for line in lines[1:] if (text := bare(line)) in self.names.labels}
        for match in _DECLARATION.finditer(self.names.normalise(self.text)):
            (finals if match["final"] else others).add(self.names.sides[match["side"]] if match["side"] else "tie")
        for match in _LITERAL.finditer(self.text):
            others |= self._meaning(match[1] or match[2])
        others |= self._literal_labels()
        declared = finals or others
        if len(declared) > 1:
            return Verdict(unscored=f"several verdicts: {', '.join(sorted(declared))}")
        if not declared:
            return None
        return Verdict(declared.pop(), rationale=self._without_declarations())

    def _meaning(self, text: str) -> set[str]:
        verdict = self.names.alone(text)
        return {verdict} if verdict else self.names.claims(self.names.normalise(text))[0]

    def _literal_labels(self) -> set[str]:
        """Labels with decoration of their own, such as ``[SpeechA]``, declare a verdict wherever only one occurs."""
        folded = self.text.casefold()
        found = {
            verdict
            for label, verdict in self.names.written.items()
            if label.casefold() != bare(label) and label.casefold() in folded
        }
        return found if len(found) == 1 else set()

    def _without_declarations(self) -> str:
        """Return the text without lines that hold nothing but a verdict."""
        kept = []
        for line in self.text.split("\n"):
            normal = self.names.normalise(line).strip()
            match = _DECLARATION.match(normal)
            declares = match is not None and not bare(normal[match.end() :])
            if not declares and not _LITERAL.fullmatch(line.strip()) and not self.names.labels.get(bare(line)):
                kept.append(line)
        return "\n".join(kept)

    def _explained(self) -> Verdict | None:
        match = _EXPLAINED.match(self.names.normalise(self.lines[0]))
        if match is None or _COUNTS.match(self.lines[0]) or _NAMES_ONLY.match(match["reason"]):
            return None
        verdict = self.names.sides.get(match["label"], "tie")
        if self._lists_other(verdict):
            return Verdict(unscored="a list of both clips")
        if self.names.claims(match["reason"])[0] - {verdict}:
            return Verdict(unscored=f"{verdict}, with a reason against it: {shorten(self.lines[0])!r}")
        return Verdict(verdict, rationale=self.text)

    def _stated(self) -> Verdict:
        stated, concluded = self.names.claims(self.names.normalise(self.text))
        if len(stated) > 1:
            stated = concluded if len(concluded) == 1 else stated
        if len(stated) == 1:
            return Verdict(stated.pop(), rationale=self.text)
        if stated:
            return Verdict(unscored=f"contradictory: {', '.join(sorted(stated))} in {shorten(self.text)!r}")
        return Verdict(unscored=f"no verdict in {shorten(self.text)!r}")

    def _lists_other(self, verdict: str) -> bool:
        """Whether the other clip is an item of a list or a heading of its own, so that the first one is too."""
        stand_ins = {name: stand_in for stand_in, name in self.names.sides.items()}
        other = next((stand_ins[name] for name in stand_ins if name != verdict and verdict in stand_ins), None)
        if other is None:
            return False
        listed = rf"(?:^|\n|\s)[^\w\s{''.join(stand_ins.values())}]*{other}\s*(?:[.):](?=\s|$)|[*_`]*\n)"
        return re.search(listed, self.names.normalise(self.text)) is not None


def _reason(fields: dict[str, Any]) -> str | None:
    for key in ("rationale", "reason", "reasoning", "explanation", "analysis"):
        if isinstance(fields.get(key), str):
            return str(fields[key])
    return None
