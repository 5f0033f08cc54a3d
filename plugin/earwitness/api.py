"""Judging from Python::

from earwitness import Judge

judge = Judge.from_pretrained("runs/my_judge")
for aspect, found in judge.compare("a.wav", "b.wav", aspects=["noise", "loudness"]).items():
    print(aspect, found.verdict, found.probabilities)
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earwitness.data.entries import load_entry
from earwitness.data.records import Record
from earwitness.errors import UserError
from earwitness.infer.decide import combine_orders
from earwitness.infer.hf_engine import HFEngine
from earwitness.infer.manifest import clip_state
from earwitness.infer.model import find_model
from earwitness.infer.options import ORDERS, Decoding
from earwitness.infer.plan import make_items, make_plan
from earwitness.infer.rows import prediction
from earwitness.infer.run import FORCED_BELOW
from earwitness.judges.prompts import render
from earwitness.judges.spec import JudgeSpec

BATCH_TOKENS = 32768
SAMPLING_RATE = 16_000
"""Hz; at which arrays are given."""


@dataclass(frozen=True)
class Comparison:
    """What a judge says of one pair in one aspect.

    Attributes:
        aspect: what was asked.
        verdict: "first", "second" or "tie" about the clips as given; None when unscored.
        probabilities: of these verdicts, the mean of both orders where both were shown; None without.
        unscored: why there is no verdict.
        consistent: whether both orders gave the same verdict; None where one order was shown.
        menu_mass: how likely the model was to say any label where they were compared, in 0..1; None without.
        rows: the predictions behind it, one an order shown, as ``infer.sh`` writes them (``raw``, ``rationale`` ...).
    """

    aspect: str | None
    verdict: str | None
    probabilities: Mapping[str, float] | None
    unscored: str | None
    consistent: bool | None
    menu_mass: float | None
    rows: tuple[Mapping[str, Any], ...]


class Judge:
    """A loaded judge of pairs."""

    def __init__(self, engine: HFEngine, spec: JudgeSpec, orders: str = "both", batch_size: int = 32) -> None:
        """Wrap an engine; ``from_pretrained`` is the usual way.

        Args:
            engine: with the decoding to use.
            spec: prompt, labels and parser.
            orders: "ab", "ba" or "both": in which orders each pair is shown.
            batch_size: the most questions answered together.

        Raises:
            UserError: the judge does not hear two clips, or ``orders`` is unknown.
        """
        if spec.kind.clips != 2 or not spec.labels:
            raise UserError(f"judge {spec.type!r} does not compare two clips; use e.g. 'pairwise'")
        if orders not in ORDERS:
            raise UserError(f"orders {orders!r} is unknown; allowed: {', '.join(ORDERS)}")
        self._engine, self._spec, self._orders, self._batch_size = engine, spec, orders, batch_size
        self._states: dict[str, str] = {}

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str],
        judge: str | None = None,
        *,
        dataset: str | None = None,
        dataset_dir: str | os.PathLike[str] = "data",
        base_model: str | os.PathLike[str] | None = None,
        chat_template: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        orders: str = "both",
        batch_size: int = 32,
        decoding: Decoding | None = None,
        **spec: Any,
    ) -> Judge:
        """Load a judge.

        Args:
            model: folder of a full model, thinker-only checkpoint or LoRA adapter; or a name on the hub.
            judge: type of judge, as ``judge.type`` in ``dataset_info.json``; ``pairwise`` by default.
            dataset: entry of ``dataset_info.json`` whose judge this is: the one that the model was trained on.
                Instead of ``judge`` and ``spec``.
            dataset_dir: the folder of ``dataset_info.json``.
            base_model: model under a LoRA adapter that does not name it.
            chat_template: LLaMA-Factory's; that of the model's family by default.
            device: "auto", "cpu", "cuda" or "cuda:N".
            dtype: "auto", "float32", "bfloat16" or "float16".
            orders: see ``Judge``.
            batch_size: see ``Judge``.
            decoding: how to answer; label probabilities without a text (``verdict_only``) by default where the judge
                begins its answer with a label, greedy text where it thinks first.
            spec: fields of ``JudgeSpec`` that differ from the type's: ``template``, ``labels``, ``aspects``,
                ``chain_of_thought``, ``clip_names``.

        Raises:
            UserError: the model or the judge cannot be used so.
        """
        asked = _spec(judge, dataset, dataset_dir, spec)
        label_first = asked.kind.target == "verdict" and not asked.chain_of_thought
        decoding = decoding or Decoding(verdict_only=label_first, max_new_tokens=1024)
        if decoding.verdict_only and not label_first:
            raise UserError(
                f"verdict_only cannot serve judge {asked.type!r}, whose answer does not begin with its label"
            )
        files = find_model(os.fspath(model), None if base_model is None else os.fspath(base_model))
        engine = HFEngine(files, decoding, template=chat_template, device=device, dtype=dtype)
        return cls(engine, asked, orders, batch_size)

    def compare(
        self, a: Any, b: Any, aspects: Sequence[str] | None = None, question: str | None = None
    ) -> dict[str | None, Comparison]:
        """Compare two clips.

        Args:
            a: path, bytes, file object, dict of ``bytes`` or ``array`` and ``sampling_rate``, or mono array at 16 kHz.
            b: likewise.
            aspects: what to compare them in; the judge's own aspects by default.
            question: what both clips respond to, where the prompt asks for it.

        Returns: one comparison an aspect, in order.

        Raises:
            UserError: a clip cannot be read or is too long, or an aspect is unknown.
        """
        return self.compare_all([(a, b)], aspects, question)[0]

    def compare_all(
        self, pairs: Iterable[tuple[Any, Any]], aspects: Sequence[str] | None = None, question: str | None = None
    ) -> list[dict[str | None, Comparison]]:
        """Compare many pairs; see ``compare``. Clips and prompts that occur more than once are computed once."""
        asked = self._aspects(aspects)
        clips = [(self._clip(a), self._clip(b)) for a, b in pairs]
        prompts = {aspect: render(self._spec, aspect=aspect, question=question) for aspect in asked}
        records = [
            Record(f"{number}-{aspect}", "compare", number, self._spec, aspect, pair, prompts[aspect])
            for number, pair in enumerate(clips, 1)
            for aspect in asked
        ]
        rows = self._rows(records)
        found = [self._comparison(rows[record.id], record.aspect) for record in records]
        return [
            {one.aspect: one for one in found[first : first + len(asked)]} for first in range(0, len(found), len(asked))
        ]

    def _aspects(self, aspects: Sequence[str] | None) -> Sequence[str | None]:
        known = self._spec.aspects
        unknown = [aspect for aspect in aspects or () if known and aspect not in known]
        if unknown:
            raise UserError(f"unknown aspect {unknown[0]!r}; allowed: {', '.join(known)}")
        if aspects is not None and len(set(aspects)) != len(aspects):
            raise UserError("aspects must differ")
        return aspects or known or (None,)

    def _clip(self, source: Any) -> str:
        """Return a name for a clip, equal for equal sounds in memory, and see to it that its source is known."""
        if isinstance(source, str | os.PathLike):
            name = os.fspath(source)
            state = clip_state(os.path.expanduser(name))
            if self._states.setdefault(name, state) != state:
                self._engine.forget(name)
                self._states[name] = state
            return name
        from earwitness.audio.reading import read_audio

        waveform = read_audio(source, SAMPLING_RATE)
        name = f"memory:{hashlib.sha256(waveform.tobytes()).hexdigest()}"
        self._engine.sources[name] = waveform
        return name

    def _rows(self, records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
        items = make_items(records, ORDERS[self._orders])
        sizes = [self._engine.size(item) for item in items]
        plan = make_plan(items, sizes, {}, self._batch_size, BATCH_TOKENS)
        rows: dict[int, dict[str, Any]] = {}
        try:
            for number, answers in self._engine.answer(enumerate(plan.batches)):
                for item, answer in zip(plan.batches[number], answers, strict=True):
                    if answer.failure is not None:
                        raise UserError(answer.failure)
                    rows[item.number] = prediction(item, answer, self._engine.label(), self._engine.decoding)
        finally:
            self._engine.sources.clear()
        by_record: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            by_record.setdefault(item.record.id, []).append(rows[item.number])
        return by_record

    @staticmethod
    def _comparison(rows: Sequence[dict[str, Any]], aspect: str | None) -> Comparison:
        one = next(combine_orders(rows)) if len(rows) == 2 else {**rows[0], "consistent": None}
        mass = one["menu_mass"]
        if mass is not None and mass < FORCED_BELOW and one["decoding"]["verdict_only"]:
            warnings.warn(
                f"the model was unlikely to begin its answer with a label (menu mass {mass:.3f}), so its verdict is "
                "what it would choose if it had to; a judge that thinks first needs chain_of_thought=True or dataset",
                stacklevel=4,
            )
        return Comparison(
            aspect, one["verdict"], one["probabilities"], one["unscored"], one["consistent"], mass, tuple(rows)
        )


def _spec(
    judge: str | None, dataset: str | None, dataset_dir: str | os.PathLike[str], changes: Mapping[str, Any]
) -> JudgeSpec:
    if dataset is None:
        return JudgeSpec.of_type(judge or "pairwise", **changes)
    if judge is not None or changes:
        raise UserError(f"dataset {dataset!r} names its judge; leave judge and its fields out")
    declared = load_entry(dataset, dataset_dir).judge
    if declared is None:
        raise UserError(f"dataset_info.json, entry {dataset!r}: declares no judge")
    return declared
