"""What a user declares about splitting: shares by rule, what must not be shared, what is balanced."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from earwitness.errors import UserError

SPLITS = ("train", "val", "test")
KINDS = ("speaker", "system", "text")
MATCHED = ("task", "source", "system", "verdict", "language")
CONFLICTS = ("refuse", "drop")

DETECTION_RATIO = (20.5, 17.8, 61.7)
"""Shares of the detection clips of SpeechEval; its other three tasks have 70, 15 and 15 (section 5.1, Appendix C.1)."""


@dataclass(frozen=True)
class SplitRule:
    """The shares of the rows that match; of several rules that match the first counts.

    Attributes:
        ratio: relative shares of train, val and test, such as (5, 5, 0): none in test.
        match: column (of ``MATCHED``) to a pattern with ``*``; every one must match, and for pairs both systems.
        disjoint: the kinds of values that these rows share with no other split; None: those of the plan. Appendix C.1
            wants spoofing systems of detection seen in training and validation (5:5:0) beside unseen ones (0:0:10).
    """

    ratio: tuple[float, float, float]
    match: Mapping[str, str]
    disjoint: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shares = self.ratio
        wrong = len(shares) != len(SPLITS) or any(not math.isfinite(share) or share < 0 for share in shares)
        if wrong or sum(shares) <= 0:
            raise UserError(f"ratio {shares} is not allowed; give shares of {', '.join(SPLITS)} such as 70:15:15")
        for name in self.match:
            if name not in MATCHED:
                raise UserError(f"a rule matches on '{name}'; allowed: {', '.join(MATCHED)}")
        _check_kinds(self.disjoint or ())

    def applies(self, row: Mapping[str, Any]) -> bool:
        """Whether a row matches."""
        return all(
            all(fnmatchcase(value, pattern) for value in _values(row, name) or [""])
            for name, pattern in self.match.items()
        )


def _check_kinds(kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"cannot split by '{kind}'; allowed: {', '.join(KINDS)}")


@dataclass(frozen=True)
class SplitPlan:
    """Everything that decides a split; recorded in the manifest.

    Attributes:
        rules: tried in order before the two rules that always stand at the end: ``detection`` for task detect,
            ``ratio`` for all others.
        ratio: shares of all other tasks.
        detection: shares of task detect.
        disjoint: kinds of values of which none is in two splits; clips never are.
        conflicts: "refuse" keeps every row and refuses when groups are too large for the ratios; "drop" separates
            values one by one and drops the rows in between.
        tolerance: how far the share of a rule's rows may be from its ratio before "refuse" refuses.
        balance_order: swap A and B of rows without text about them until the better clip is A in half.
        balance_labels: splits in which rows are dropped at random until every verdict is as frequent as the rarest.
        seed: of every draw.
    """

    rules: tuple[SplitRule, ...] = ()
    ratio: tuple[float, float, float] = (70, 15, 15)
    detection: tuple[float, float, float] = DETECTION_RATIO
    disjoint: tuple[str, ...] = KINDS
    conflicts: str = "refuse"
    tolerance: float = 0.1
    balance_order: bool = False
    balance_labels: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        _check_kinds(self.disjoint)
        if self.conflicts not in CONFLICTS:
            raise UserError(f"conflicts is '{self.conflicts}'; allowed: {', '.join(CONFLICTS)}")
        for split in self.balance_labels:
            if split not in SPLITS:
                raise UserError(f"labels cannot be balanced in '{split}'; allowed: {', '.join(SPLITS)}")
        if not 0 <= self.tolerance <= 1:
            raise UserError(f"tolerance is {self.tolerance}; allowed: a number from 0 to 1")

    @cached_property
    def all_rules(self) -> tuple[SplitRule, ...]:
        """The rules with the two that stand at the end."""
        return (*self.rules, SplitRule(self.detection, {"task": "detect"}), SplitRule(self.ratio, {}))

    def rule_of(self, row: Mapping[str, Any]) -> int:
        """The place in ``all_rules`` of the first rule that applies."""
        return next(place for place, rule in enumerate(self.all_rules) if rule.applies(row))

    def kinds_of(self, rule: int) -> tuple[str, ...]:
        """The kinds of values that rows under a rule share with no other split."""
        own = self.all_rules[rule].disjoint
        return self.disjoint if own is None else own

    def to_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> SplitPlan:
        """Read a plan.

        Raises:
            UserError: an unknown key, or a value that is not allowed; lists what is.
        """
        given = _object("plan", value, cls)
        rules = given.get("rules", [])
        if not isinstance(rules, list | tuple):
            raise UserError(f"rules are {rules!r}; allowed: a list of rules")
        if "rules" in given:
            given["rules"] = tuple(_rule(rule) for rule in rules)
        for name in ("ratio", "detection"):
            if name in given:
                given[name] = _numbers(name, given[name])
                SplitRule(given[name], {})
        for name in ("disjoint", "balance_labels"):
            if name in given:
                given[name] = _words(name, given[name])
        for name, kind in (("balance_order", bool), ("seed", int), ("tolerance", int | float), ("conflicts", str)):
            if name in given and (not isinstance(given[name], kind) or isinstance(given[name], bool) != (kind is bool)):
                raise UserError(f"{name} is {given[name]!r}, which is not allowed")
        return cls(**given)


def _object(what: str, value: Any, kind: type) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    if not isinstance(value, Mapping):
        raise UserError(f"a {what} must be an object with {', '.join(names)}, but is {value!r}")
    for name in value:
        if name not in names:
            raise UserError(f"a {what} has no '{name}'; allowed: {', '.join(names)}")
    return dict(value)


def _rule(value: Any) -> SplitRule:
    given = _object("rule", value, SplitRule)
    if "ratio" not in given:
        raise UserError(f"rule {value!r} has no ratio")
    match = given.get("match", {})
    if not isinstance(match, Mapping) or not all(isinstance(pattern, str) for pattern in match.values()):
        raise UserError(f"match is {match!r}; allowed: an object of column to pattern")
    disjoint = given.get("disjoint")
    return SplitRule(
        _numbers("ratio", given["ratio"]), match, None if disjoint is None else _words("disjoint", disjoint)
    )


def _numbers(name: str, value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(
        isinstance(share, int | float) and not isinstance(share, bool) for share in value
    ):
        raise UserError(f"{name} is {value!r}; allowed: three numbers, the shares of {', '.join(SPLITS)}")
    return tuple(value)


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise UserError(f"{name} is {value!r}; allowed: a list of names")
    return tuple(value)


def _values(row: Mapping[str, Any], name: str) -> list[str]:
    """The values of a column in a row of one clip or two."""
    found = (row.get(column) for column in (name, f"{name}_a", f"{name}_b"))
    return [str(value) for value in found if value is not None and value != ""]


def row_values(row: Mapping[str, Any], kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    """What a row must share with no row of another split: ``(kind, value)``, clips always among them.

    Systems and speakers are those of their source: "A01" of one data set is not "A01" of another. Texts are compared
    without regard to case and white space, whatever the source; a row that knows only a key of its sentence gives that
    key, and SageLM's rows their question.
    """
    found = [("clip", posixpath.normpath(path)) for path in _values(row, "audio")]
    source = str(row.get("source") or "")
    for kind in kinds:
        if kind == "text":
            said = _values(row, "sentence") or _values(row, "text") or _values(row, "question")
            found += [("text", " ".join(text.split()).casefold()) for text in said]
        else:
            found += [(kind, f"{source}\x1f{value}") for value in _values(row, kind)]
    return list(dict.fromkeys(found))
