"""Reading texts to compare: what annotators wrote about a clip or pair, and what the judge wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.errors import RowError, UserError, shorten
from earwitness.infer.datasets import load_dataset
from earwitness.judges.sections import split_response
from earwitness.metrics.pairwise_files import rows_of_run
from earwitness.rewards.criteria import TASKS, Material, Task
from earwitness.rewards.materials import graded_task, material

PREDICTION_TEXTS = ("raw", "response", "predict")
REFERENCE_TEXTS = ("labels", "label")
"""Columns of the annotators' text in files that carry both sides (ms-swift, LLaMA-Factory)."""
_TASK_NAMES: Mapping[str, Task] = {
    "SingleEval": "Assessment",
    "CompareEval": "Comparison",
    "Suggest": "Suggestion",
    **{task.casefold(): task for task in TASKS},
}


@dataclass(frozen=True)
class TextCase:
    """One text of the judge beside that of the annotators.

    Attributes:
        row: place in the predictions, from 1; 0 where the judge wrote nothing about this reference.
        id: of the record; ``None`` in files without ids.
        order: "ab" as the record stands, "ba" with the clips exchanged (the reference is turned around then).
        task: Assessment, Comparison or Suggestion.
        case: both texts, without their thinking; or why there is nothing to compare.
        clips: of the row, which is what rows may share; empty where unknown.
    """

    row: int
    id: str | None
    order: str
    task: Task
    case: Material | str
    clips: tuple[str, ...] = ()


def read_texts(
    predictions: str,
    references: str | None = None,
    *,
    dataset_dir: str | os.PathLike[str] = "data",
    media_dir: str | None = None,
    task: str | None = None,
) -> list[TextCase]:
    """Read both sides.

    Args:
        predictions: a run of ``infer.sh`` (file or folder), or rows with a text in ``raw``, ``response`` or
            ``predict``. Without ``references`` the rows carry the annotators' text in ``labels`` or ``label``.
        references: a name in ``dataset_info.json`` or a file that ``infer.sh`` takes; joined by id (``key``).
        dataset_dir: the folder of ``dataset_info.json``.
        media_dir: what relative clip paths start from.
        task: of rows that do not name it in a column ``task``; datasets tell it by their judge.

    Returns:
        With references one case a reference and order, in their order, unanswered ones among them; else one a row.

    Raises:
        UserError: a file that cannot be read, ids that do not match or occur twice, several models in one file, no
            reference text at all, an unknown task.
    """
    if task is not None and task not in _TASK_NAMES:
        raise UserError(f"--task {task!r} is unknown; allowed: {', '.join(name.casefold() for name in TASKS)}")
    path, rows = rows_of_run(predictions)
    if references is None:
        cases = [_carried(path, number, row, task) for number, row in rows]
    else:
        cases = _joined(path, rows, references, dataset_dir, media_dir)
    if not any(isinstance(one.case, Material) for one in cases):
        raise UserError(f"{path}: no row has both texts; the first: {cases[0].case}")
    return cases


def _carried(path: Path, number: int, row: Mapping[str, Any], task: str | None) -> TextCase:
    """A row that holds both texts."""
    named = row.get("task") or task
    if named is None:
        raise RowError(f"names no task; give --task ({', '.join(_TASK_NAMES)})").at(path, number)
    if named not in _TASK_NAMES:
        raise RowError(f"task {shorten(repr(named))} has no texts to compare; allowed: {', '.join(_TASK_NAMES)}").at(
            path, number
        )
    given = next((row[name] for name in REFERENCE_TEXTS if isinstance(row.get(name), str)), None)
    reference, answer = split_response(given, False), split_response(_text(row), False)
    case: Material | str
    if reference.answer is None:
        case = "the row has no reference text"
    elif answer.answer is None:
        case = answer.problem or "no answer"
    else:
        case = Material(_TASK_NAMES[named], _prompt(row), reference.answer, answer.answer, reference.thinking)
    clips = row.get("audios")
    return TextCase(
        number, _id(row), "ab", _TASK_NAMES[named], case, tuple(map(str, clips)) if isinstance(clips, list) else ()
    )


def _joined(
    path: Path,
    rows: Sequence[tuple[int, Mapping[str, Any]]],
    references: str,
    dataset_dir: str | os.PathLike[str],
    media_dir: str | None,
) -> list[TextCase]:
    records = load_dataset(references, dataset_dir=dataset_dir, media_dir=media_dir)
    known = {record.id for record in records}
    given: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
    for number, row in rows:
        identity, order = _id(row), str(row.get("order") or "ab")
        if identity is None:
            raise RowError("has no id to join it with the references by").at(path, number)
        if identity not in known:
            raise RowError(
                f"id {shorten(repr(identity))} is not in the references, whose first id is {records[0].id!r}"
            ).at(path, number)
        if order not in ("ab", "ba"):
            raise RowError(f"order {shorten(repr(order))} is not allowed; allowed: ab, ba").at(path, number)
        if (identity, order) in given:
            raise RowError(f"id {identity!r} in order {order!r} stands in row {given[identity, order][0]} already").at(
                path, number
            )
        given[identity, order] = number, row
    orders = sorted({order for _, order in given})
    cases = []
    for record in records:
        task = graded_task(record)
        if task is None:
            raise UserError(
                f"{references}, row {record.row}: judge {record.judge.type!r} answers with a label, there is no "
                "text to compare; evaluate_detection.py is for it"
            )
        for order in orders:
            number, row = given.get((record.id, order), (0, {}))
            shown = record if order == "ab" else record.swapped()
            text = _text(row)
            if not number:
                case: Material | str = "no prediction"
            elif text is None:
                case = str(row.get("unscored") or "no text")
            else:
                case = material(text, shown)
            cases.append(TextCase(number, record.id, order, task, case, record.audios))
    return cases


def _id(row: Mapping[str, Any]) -> str | None:
    return next((str(row[name]) for name in ("id", "key") if row.get(name) not in (None, "")), None)


def _text(row: Mapping[str, Any]) -> str | None:
    return next((row[name] for name in PREDICTION_TEXTS if isinstance(row.get(name), str)), None)


def _prompt(row: Mapping[str, Any]) -> str:
    """What the judge was asked, in rows of ms-swift and LLaMA-Factory; empty where they do not say."""
    messages = row.get("messages")
    if isinstance(messages, list):
        asked = [one.get("content") for one in messages if isinstance(one, Mapping) and one.get("role") == "user"]
        return str(asked[0]) if asked else ""
    return str(row.get("prompt") or "")
