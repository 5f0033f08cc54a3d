"""The ``judge`` block of an entry in ``dataset_info.json``, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from earwitness.errors import UserError
from earwitness.judges import prompts
from earwitness.judges.kinds import JudgeType
from earwitness.judges.text import bare, listed, refuse_unknown

FORMATTINGS = {"speech_pair": 2, "speech_clip": 1}
"""The ``formatting`` names of judges, and how many clips a row of each holds."""

ORDER_SWAPS = ("none", "random", "always")
_DEFAULT_TYPES = {"speech_pair": "pairwise", "speech_clip": "score"}
JUDGE_KEYS = (
    "type",
    "template",
    "aspects",
    "labels",
    "verdict_values",
    "scale",
    "chain_of_thought",
    "order_swap",
    "clip_names",
    "language",
)
"""Every key of a judge block."""


@dataclass(frozen=True)
class JudgeSpec:
    """One declared judge: which prompt it gets, what it may answer and how the answer is read.

    Attributes:
        type: a name of ``judges/registry.py``; ``kind`` is the entry behind it.
        template: path under ``templates/`` without ``.jinja``, or a path of the user's own that ends in ``.jinja``.
        aspects: the aspects that rows may ask for, in the user's order; empty when any is allowed.
        labels: canonical verdict to the text that the model writes; empty for judges without a menu.
        verdict_values: what the data holds to the canonical verdict; empty: canonical words and the label menu.
        scale: lowest and highest number, or words from worst to best; None for judges without scores.
        chain_of_thought: whether the response thinks between ``<think>`` tags before its ``<answer>``.
        order_swap: "none", "random" or "always": which training rows show B before A.
        clip_names: what the prompt calls each clip; swapped in rationales when the clips change places.
        language: handed to the template, which may ask for an answer in it; None leaves it to the model.
    """

    type: str
    template: str
    aspects: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    verdict_values: Mapping[str, str] = field(default_factory=dict, hash=False)
    scale: tuple[float, float] | tuple[str, ...] | None = None
    chain_of_thought: bool = False
    order_swap: str = "none"
    clip_names: tuple[str, ...] = ()
    language: str | None = None

    @property
    def kind(self) -> JudgeType:
        """The type behind ``type``."""
        return _types()[self.type]

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest score of a scale of numbers."""
        if self.scale is None or isinstance(self.scale[0], str):
            raise TypeError(f"judge {self.type!r} has no scale of numbers")
        return float(self.scale[0]), float(self.scale[1])

    @classmethod
    def of_type(cls, name: str, **changes: Any) -> JudgeSpec:
        """Return the judge of a type with its defaults, and fields of this class that differ from them.

        Raises:
            UserError: no such type.
        """
        from earwitness.judges.registry import judge_type

        kind = judge_type(name)
        defaults: dict[str, Any] = {
            "template": kind.template,
            "aspects": kind.aspects,
            "labels": dict(kind.labels),
            "scale": kind.scale,
            "clip_names": kind.clip_names,
        }
        return cls(type=name, **{**defaults, **changes})

    @classmethod
    def from_entry(cls, name: str, entry: Mapping[str, Any]) -> JudgeSpec:
        """Read the judge of one entry of ``dataset_info.json``.

        Args:
            name: of the entry, for messages.
            entry: the entry as it stands in the file; ``formatting`` and ``judge`` are read here, ``columns`` and
                ``file_name`` in ``data/entries.py``.

        Raises:
            UserError: a key or value that is not allowed; names it and lists what is.
        """
        return _Block(name, entry).spec()

    def canonical(self, value: Any) -> str | None:
        """Return the canonical verdict of a value in the data, or None when the declaration does not cover it.

        With ``verdict_values`` only its keys count. Without, the canonical words and the label menu do, case and
        surrounding white space ignored. Whole numbers count as their digits, so ``1.0`` of a spreadsheet is ``1``.
        """
        text = _text(value)
        if self.verdict_values:
            return self.verdict_values.get(text)
        folded = text.casefold()
        menu = {label.casefold(): verdict for verdict, label in self.labels.items()}
        return folded if folded in self.labels else menu.get(folded)

    def allowed_values(self) -> str:
        """List for a message the values that ``canonical`` knows."""
        return listed(self.verdict_values) if self.verdict_values else listed((*self.labels, *self.labels.values()))


SAGELM = JudgeSpec(
    type="pairwise",
    template="sagelm/pairwise",
    labels={"first": "1", "second": "2", "tie": "Tie"},
    clip_names=("Response 1", "Response 2"),
)
"""The judge of rows and answers that come without a declaration: any aspect, answers 1, 2 or Tie."""


def _types() -> dict[str, JudgeType]:
    from earwitness.judges.registry import JUDGE_TYPES  # the types hold parsers, which need the class above

    return JUDGE_TYPES


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


class _Block:
    """Reads one ``judge`` block, key by key."""

    def __init__(self, name: str, entry: Mapping[str, Any]) -> None:
        self.where = f"dataset_info.json, entry {name!r}"
        self.formatting = entry.get("formatting", "alpaca")
        self.block: Mapping[str, Any] = entry.get("judge", {})

    def fail(self, key: str, message: str) -> UserError:
        return UserError(f"{self.where}, judge.{key}: {message}")

    def spec(self) -> JudgeSpec:
        if not isinstance(self.block, Mapping):
            raise UserError(f"{self.where}: 'judge' must be an object, but is {self.block!r}")
        refuse_unknown(f"{self.where}, judge", self.block, JUDGE_KEYS)
        self.kind = self._kind()
        order_swap = self._choice("order_swap", ORDER_SWAPS)
        if order_swap != "none" and self.kind.clips == 1:
            raise self.fail("order_swap", f"{order_swap!r} needs two clips, and {self.kind.name!r} has one; use 'none'")
        return JudgeSpec(
            type=self.kind.name,
            template=self._template(),
            aspects=self._aspects(),
            labels=self._labels(),
            verdict_values=self._verdict_values(),
            scale=self._scale(),
            chain_of_thought=self._flag("chain_of_thought"),
            order_swap=order_swap,
            clip_names=self._clip_names(),
            language=self._language(),
        )

    def _kind(self) -> JudgeType:
        default = _DEFAULT_TYPES.get(self.formatting)
        name = self.block.get("type", default)
        if name is None:
            raise self.fail("type", f"missing; allowed: {listed(_types())}")
        from earwitness.judges.registry import judge_type

        try:
            kind = judge_type(str(name))
        except UserError as error:
            raise self.fail("type", str(error)) from None
        clips = FORMATTINGS.get(self.formatting, kind.clips)
        if clips != kind.clips:
            fitting = listed(judge.name for judge in _types().values() if judge.clips == clips)
            raise self.fail(
                "type",
                f"{kind.name!r} hears {kind.clips} clip(s), {self.formatting!r} gives {clips}; allowed: {fitting}",
            )
        return kind

    def _choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.block.get(key, allowed[0])
        if value not in allowed:
            raise self.fail(key, f"{value!r} is not allowed; allowed: {listed(allowed)}")
        return str(value)

    def _flag(self, key: str) -> bool:
        value = self.block.get(key, False)
        if not isinstance(value, bool):
            raise self.fail(key, f"{value!r} is not allowed; allowed: true, false")
        return value

    def _language(self) -> str | None:
        value = self.block.get("language")
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.fail("language", f"{value!r} is not allowed; give the name of a language, or null")
        return value

    def _template(self) -> str:
        value = self.block.get("template") or self.kind.template
        try:
            prompts.find_template(str(value))
        except UserError as error:
            raise self.fail("template", str(error)) from None
        return str(value)

    def _words(self, key: str, value: Any) -> tuple[str, ...]:
        """Read a list of distinct, non-empty texts on one line each."""
        if not isinstance(value, list) or not all(isinstance(word, str) and word.strip() for word in value):
            raise self.fail(key, f"must be a list of non-empty texts, but is {value!r}")
        folded = [bare(word) for word in value]
        for word, form in zip(value, folded, strict=True):
            if not form or "\n" in word or folded.count(form) > 1:
                raise self.fail(key, f"{word!r} is empty, spans lines or occurs twice (case and punctuation ignored)")
        return tuple(word.strip() for word in value)

    def _aspects(self) -> tuple[str, ...]:
        value = self.block.get("aspects")
        if value is None:
            if self.kind.target == "scores":
                raise self.fail("aspects", f"{self.kind.name!r} needs the list of aspects that it rates")
            return self.kind.aspects
        aspects = self._words("aspects", value)
        if not aspects:
            raise self.fail("aspects", "must name at least one aspect; leave the key out to allow any")
        unknown = [aspect for aspect in aspects if self.kind.aspects and aspect not in self.kind.aspects]
        if unknown:
            raise self.fail(
                "aspects",
                f"{unknown[0]!r} is no aspect of {self.kind.name!r}; allowed: {listed(self.kind.aspects)}"
                " (for aspects of your own use a type without fixed ones, such as 'pairwise')",
            )
        return aspects

    def _labels(self) -> dict[str, str]:
        value = self.block.get("labels")
        if value is None:
            return dict(self.kind.labels)
        if not self.kind.labels:
            raise self.fail("labels", f"{self.kind.name!r} has no labels; leave the key out")
        if not isinstance(value, Mapping):
            raise self.fail("labels", f"must be an object such as {dict(self.kind.labels)}, but is {value!r}")
        for key in value:
            if key not in self.kind.labels:
                raise self.fail("labels", f"unknown verdict {key!r}; allowed: {listed(self.kind.labels)}")
        for key in self.kind.labels:
            if key not in value and key not in self.kind.optional_labels:
                raise self.fail("labels", f"{key!r} is missing; give the text that the model writes for it")
        labels = self._words("labels", list(value.values()))
        return dict(zip(value, labels, strict=True))

    def _verdict_values(self) -> dict[str, str]:
        value = self.block.get("verdict_values")
        if value is None:
            return {}
        verdicts = tuple(self._labels())
        if not verdicts:
            raise self.fail("verdict_values", f"{self.kind.name!r} has no verdicts; leave the key out")
        if not isinstance(value, Mapping) or not value:
            raise self.fail("verdict_values", f"must map values of the data to {listed(verdicts)}, but is {value!r}")
        for key, verdict in value.items():
            if verdict not in verdicts:
                raise self.fail("verdict_values", f"{key!r} maps to {verdict!r}; allowed: {listed(verdicts)}")
        return {_text(key): str(verdict) for key, verdict in value.items()}

    def _scale(self) -> tuple[float, float] | tuple[str, ...] | None:
        value = self.block.get("scale")
        if value is None:
            return self.kind.scale
        if self.kind.scale is None:
            raise self.fail("scale", f"{self.kind.name!r} gives no scores; leave the key out or null")
        is_list = isinstance(value, list)
        if is_list and len(value) == 2 and all(_is_number(bound) for bound in value) and value[0] < value[1]:
            return (float(value[0]), float(value[1]))
        if is_list and len(value) >= 2 and self.kind.target == "scores" and isinstance(value[0], str):
            return self._words("scale", value)
        words = ", or at least two words from worst to best" if self.kind.target == "scores" else ""
        raise self.fail("scale", f"{value!r} is not allowed; give [lowest, highest]{words}")

    def _clip_names(self) -> tuple[str, ...]:
        value = self.block.get("clip_names")
        if value is None:
            return self.kind.clip_names
        names = self._words("clip_names", value)
        if len(names) != self.kind.clips:
            raise self.fail("clip_names", f"{self.kind.name!r} hears {self.kind.clips} clip(s), but {value!r} is given")
        return names


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
