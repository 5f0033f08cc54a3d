"""Rows of ``speech_pair`` and ``speech_clip`` datasets, read as their entry declares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from earwitness.data.entries import Entry
from earwitness.data.example import Example, Reference, as_mirror, cell, stated_reference
from earwitness.errors import RowError
from earwitness.judges import answers, prompts
from earwitness.judges.kinds import CLIP_COLUMNS
from earwitness.judges.prompts import neutralize
from earwitness.judges.text import listed
from earwitness.judges.verdicts import parse_verdict


def speech_example(row: Mapping[str, Any], entry: Entry) -> Example:
    """Turn one row into its example.

    Raises:
        RowError: a column is missing, or a value is not allowed; lists what is.
    """
    return _SpeechRow(row, entry).example()


class _SpeechRow:
    """One row and the entry that says how to read it."""

    def __init__(self, row: Mapping[str, Any], entry: Entry) -> None:
        assert entry.judge is not None
        self.row, self.entry, self.judge = row, entry, entry.judge

    def example(self) -> Example:
        judge = self.judge
        aspect, question = self._aspect(), self._text("question")
        audios = tuple(self._audio(key) for key in CLIP_COLUMNS[judge.kind.clips])
        meta = self._meta()
        reference, answer, rationale = self._answer()
        thinking = neutralize(self._text("thinking") or "")
        mirror = as_mirror(None)
        if answer is not None and judge.kind.clips == 2:
            verdict = None if judge.kind.target == "text" else str(reference)
            mirror = partial(answers.mirror_answer, judge, verdict, rationale, thinking)
        response = None if answer is None else answers.respond(judge, answer, thinking)
        if response is not None:
            reference = self._checked(response, reference)
        return Example(
            judge=judge,
            id=self._text("id"),
            aspect=aspect,
            prompt=prompts.render(judge, aspect=aspect, question=question, row=meta),
            audios=audios,
            reference=reference,
            response=response,
            mirror=mirror,
            meta=meta,
        )

    def _cell(self, key: str, required: bool = False) -> Any:
        column = self.entry.columns.get(key)
        if column is None:
            return None
        if column not in self.row and (required or key in self.entry.declared):
            raise RowError(f"column {column!r} ({key}) is missing; the row has: {listed(self.row)}")
        value = cell(self.row, column)
        if required and value is None:
            raise RowError(f"column {column!r} ({key}) is empty; every row needs it", self.row[column])
        return value

    def _text(self, key: str) -> str | None:
        value = self._cell(key)
        if isinstance(value, dict | list):
            raise RowError(f"column {self.entry.columns[key]!r} ({key}) must hold text, but holds {value!r}", value)
        return None if value is None else str(value)

    def _audio(self, key: str) -> str:
        value = self._cell(key, required=True)
        if not isinstance(value, str):
            column = self.entry.columns[key]
            raise RowError(f"column {column!r} ({key}) must hold the path of a clip, but holds {value!r}", value)
        return value

    def _aspect(self) -> str | None:
        judge, value = self.judge, self._text("aspect")
        if judge.kind.target == "scores":
            return None
        if value is None and len(judge.aspects) == 1:
            return judge.aspects[0]
        if value is None and (judge.aspects or judge.kind.needs_aspect):
            raise RowError(f"no aspect in column {self.entry.columns['aspect']!r}; allowed: {listed(judge.aspects)}")
        if value is not None and judge.aspects and value not in judge.aspects:
            raise RowError(f"unknown aspect {value!r}; allowed: {listed(judge.aspects)}", value)
        return value

    def _answer(self) -> tuple[Reference | None, str | None, str | None]:
        """Return reference, answer and, of the answer, the part that is prose."""
        target = self.judge.kind.target
        rationale = neutralize(self._text("rationale") or "")
        if target in ("verdict", "verdict_last"):
            verdict = self._verdict()
            answer = None if verdict is None else answers.answer_with_verdict(self.judge, verdict, rationale)
            return verdict, answer, rationale
        if target == "score":
            score = self._score("score", self._cell("score"))
            written = None if score is None else answers.written(score)
            return score, "\n".join(filter(None, (written, rationale))) if written else None, rationale
        if target == "scores":
            scores = self._scores()
            return scores, None if scores is None else answers.answer_with_scores(scores), None
        answer = self._text("answer")
        answer = None if answer is None else neutralize(answer)
        column = self.judge.kind.reference_column
        reference: Reference | None = None
        if column == "verdict":
            reference = self._verdict()
        elif column == "score":
            reference = self._score("score", self._cell("score"))
        return reference, answer, answer

    def _checked(self, response: str, reference: Reference | None) -> Reference | None:
        """Return the truth that the response states where no column does; both must agree for judges with a menu."""
        if reference is None:
            return stated_reference(response, self.judge)
        if self.judge.kind.target in ("verdict", "verdict_last"):
            read = parse_verdict(response, self.judge)
            if read.verdict != reference:
                found = read.verdict or read.unscored
                raise RowError(
                    f"the response for verdict {reference!r} would be read as: {found}; its rationale or thinking must "
                    "hold no tags and no line that is a label",
                    response,
                )
        return reference

    def _verdict(self) -> str | None:
        value = self._cell("verdict")
        if value is None:
            return None
        verdict = self.judge.canonical(value)
        if verdict is None:
            raise RowError(
                f"verdict {value!r} is not in the menu; allowed: {self.judge.allowed_values()} "
                "(other values are declared in judge.verdict_values)",
                value,
            )
        return verdict

    def _scores(self) -> dict[str, str | float] | None:
        columns = self.entry.columns["scores"]
        if isinstance(columns, Mapping):
            for aspect, column in columns.items():
                if column not in self.row:
                    raise RowError(f"column {column!r} ({aspect}) is missing; the row has: {listed(self.row)}")
            values = {aspect: self.row[column] for aspect, column in columns.items()}
        else:
            values = self._cell("scores")
        if values is None:
            return None
        if not isinstance(values, Mapping):
            raise RowError(f"column {columns!r} (scores) must hold an object of aspect to value", values)
        # Arrow gives every row the keys of all rows, null where a row has none.
        given = {aspect: value for aspect, value in values.items() if value is not None and value != ""}
        if not given:
            return None
        unknown = [aspect for aspect in given if aspect not in self.judge.aspects]
        missing = [aspect for aspect in self.judge.aspects if aspect not in given]
        if unknown or missing:
            problem = f"unknown aspect {unknown[0]!r}" if unknown else f"no value for aspect {missing[0]!r}"
            raise RowError(f"scores: {problem}; each row rates: {listed(self.judge.aspects)}", values)
        return {aspect: self._level(aspect, given[aspect]) for aspect in self.judge.aspects}

    def _level(self, aspect: str, value: Any) -> str | float:
        scale = self.judge.scale
        assert scale is not None
        if isinstance(scale[0], str):
            if value not in scale:
                raise RowError(f"{aspect}: {value!r} is not on the scale; allowed: {listed(scale)}", value)
            return str(value)
        score = self._score(aspect, value)
        assert score is not None
        return score

    def _score(self, name: str, value: Any) -> float | None:
        if value is None:
            raw = self.row.get(str(self.entry.columns.get(name)))
            if isinstance(raw, float) and math.isnan(raw):
                raise RowError(f"{name} is NaN; leave the cell empty for unlabelled rows", raw)
            return None
        low, high = self.judge.bounds
        try:
            score = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            score = math.nan
        if not low <= score <= high:
            raise RowError(f"{name} {value!r} is not on the scale; allowed: {low:g} to {high:g}", value)
        return score

    def _meta(self) -> dict[str, Any]:
        used: set[str] = set()
        for column in self.entry.columns.values():
            used.update(column.values() if isinstance(column, Mapping) else (column,))
        return {key: value for key, value in self.row.items() if key not in used}
