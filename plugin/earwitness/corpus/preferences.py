"""Preference rows for distillation (ALLD): the expert's text against what the audio LLM itself answered.

The rows are in LLaMA-Factory's own format for preferences: ``stage: dpo`` reads them with and without an expert.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.corpus.caption import Ratings
from earwitness.data.records import Record
from earwitness.errors import RowError, UserError
from earwitness.files import write_json, write_jsonl
from earwitness.judges.prompts import AUDIO_PLACEHOLDER, find_template, neutralize
from earwitness.llm.prompts import render

FILE, NAME = "preferences.jsonl", "preferences"
ENTRY = {
    "file_name": FILE,
    "ranking": True,
    "columns": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "audios": "audios"},
}
EXPERT_TEMPLATES = {"alld_mos": "alld_expert/mos", "alld_ab": "alld_expert/ab"}
"""Judge type to the prompt that its expert reads, where the paper gives one."""


@dataclass
class Written:
    """What became of the answers.

    Attributes:
        rows: written.
        left_out: reason to number of answers that gave no row.
    """

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def write_preferences(
    folder: str | Path, records: Sequence[Record], answers: Iterable[Mapping[str, Any]], template: str | None
) -> Written:
    """Write ``preferences.jsonl`` and a ``dataset_info.json`` that declares it.

    A row has ``id, prompt, chosen, rejected, audios`` and, where there is a template, ``expert_prompt``.

    Args:
        folder: to write to.
        records: the questions, with the expert's texts as responses.
        answers: lines of ``earwitness infer`` about them.
        template: of the expert's prompt; None takes that of the judge's type, and none where the paper gives none.

    Raises:
        UserError: a record has no response, or lacks what the template needs; nothing could be written.
    """
    folder, written = Path(folder), Written()
    rows = list(_rows({record.id: record for record in records}, answers, template, written))
    if not rows:
        reasons = "; ".join(f"{count} {reason}" for reason, count in written.left_out.items())
        raise UserError(f"{folder}: no preferences to write: {reasons or 'there are no answers'}")
    written.rows = len(rows)
    columns = dict(ENTRY["columns"])  # type: ignore[call-overload]
    if "expert_prompt" in rows[0]:
        columns["expert_prompt"] = "expert_prompt"
    write_jsonl(folder / FILE, rows)
    write_json(folder / "dataset_info.json", {NAME: {**ENTRY, "columns": columns}})
    return written


def _rows(
    records: Mapping[str, Record], answers: Iterable[Mapping[str, Any]], template: str | None, written: Written
) -> Iterator[dict[str, Any]]:
    for answer in answers:
        record = records[answer["id"]]
        if record.response is None:
            raise RowError(
                "has no response, so there is nothing to prefer to the model's own", file=record.dataset, row=record.row
            )
        shown = record if answer["order"] == "ab" else record.swapped()
        if answer["raw"] is None:
            written.left_out["without an answer"] += 1
        elif shown.response is None:
            written.left_out["whose response cannot be turned around"] += 1
        elif answer["raw"].strip() == shown.response.strip():
            written.left_out["equal to the expert's text"] += 1
        else:
            row = {
                "id": record.id if answer["order"] == "ab" else f"{record.id}/{answer['order']}",
                "prompt": shown.prompt,
                "chosen": neutralize(shown.response),
                "rejected": neutralize(answer["raw"]),
                "audios": [str(Path(audio).absolute()) for audio in shown.audios],
            }
            name = template or EXPERT_TEMPLATES.get(record.judge.type)
            yield row if name is None else {**row, "expert_prompt": expert_prompt(shown, name, answer["order"])}


def expert_prompt(record: Record, template: str, order: str = "ab") -> str:
    """Render what the expert reads about a record.

    The template sees ``row`` (every column that the judge does not read), ``reference``, ``aspect``, ``order`` ("ba"
    where the clips are shown exchanged; ``row`` still speaks of the original A), ``prompt`` (the judge's, without
    clips), and ALLD's ratings where the row has them: ``metrics`` (mos, noi, col, dis, loud), or ``metrics_a`` and
    ``metrics_b`` (columns ratings_a and ratings_b) in the order shown.

    Raises:
        RowError: the row lacks a value that the template uses, or its ratings are wrong.
    """
    where = f"{record.dataset}, row {record.row}"
    find_template(template)
    metrics: dict[str, str] = {}
    if {"ratings_a", "ratings_b"} <= set(record.meta):
        sides = ("ratings_a", "ratings_b") if order == "ab" else ("ratings_b", "ratings_a")
        for name, column in zip(("metrics_a", "metrics_b"), sides, strict=True):
            metrics[name] = Ratings.from_mapping(record.meta[column], f"{where}, {column}").to_json()
    elif {"noi", "col", "dis", "loud"} <= set(record.meta):
        metrics["metrics"] = Ratings.from_mapping({"mos": record.reference, **record.meta}, where).to_json()
    try:
        text = render(
            template,
            row=record.meta,
            reference=record.reference,
            aspect=record.aspect,
            order=order,
            prompt=record.prompt.replace(AUDIO_PLACEHOLDER, "").strip(),
            **metrics,
        )
    except UserError as error:
        raise RowError(f"the expert's prompt cannot be written: {error}", file=record.dataset, row=record.row) from None
    return neutralize(text)
