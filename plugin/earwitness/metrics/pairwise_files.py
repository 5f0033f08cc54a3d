"""Reading the two sides of a pairwise evaluation: what people said, and what the judge wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from earwitness.errors import RowError, UserError, shorten
from earwitness.files import ROW_FORMATS, numbered_rows, read_rows
from earwitness.infer.datasets import load_dataset
from earwitness.judges.spec import SAGELM, JudgeSpec
from earwitness.judges.verdicts import parse_verdict
from earwitness.metrics.verdicts import MIRRORED, VERDICTS

TEXT_COLUMNS = ("predict", "response", "raw")
"""Columns with the judge's text, in files whose verdicts are yet to be read."""
RUN_FILES = ("predictions.jsonl", "generated_predictions.jsonl")
"""What a run folder may hold: ours, and LLaMA-Factory's ``do_predict``."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What people said of one pair in one aspect.

    Attributes:
        row: place in its file, from 1.
        id: stable id; ``None`` in files without.
        verdict: canonical.
        aspect: ``None`` where the row names none.
        prompt: what the judge is asked, with ``<audio>`` placeholders; ``None`` in files of bare verdicts.
        clips: the two paths, in the row's own order; empty in files of bare verdicts.
        judge: whose menu the judge's text is read with.
        meta: every other column.
    """

    row: int
    id: str | None
    verdict: str
    aspect: str | None = None
    prompt: str | None = None
    clips: tuple[str, ...] = ()
    judge: JudgeSpec = SAGELM
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the judge said of one pair.

    Attributes:
        row: place in its file, from 1.
        id: of the record; ``None`` in files without.
        record_row: row of the record in its dataset, from 1; ``None`` where unknown.
        aspect: ``None`` where unknown.
        order: "ab" as the record stands, "ba" with the clips exchanged.
        verdict: canonical, in the record's own order; ``None`` if unscored.
        shown: canonical, as the judge saw the pair.
        unscored: why there is no verdict.
        probabilities: of the canonical verdicts in the record's own order; ``None`` without.
        clips: paths in the record's own order; empty where unknown.
        text: what is still to be read for a verdict; ``None`` for rows that carry theirs.
        prompt: the prompt as the host decoded it; ``None`` without.
        label: the host's copy of the target text; ``None`` without.
        reference: the verdict that the row itself names as right; ``None`` without.
    """

    row: int
    id: str | None = None
    record_row: int | None = None
    aspect: str | None = None
    order: str = "ab"
    verdict: str | None = None
    shown: str | None = None
    unscored: str | None = None
    probabilities: Mapping[str, float] | None = field(default=None, hash=False)
    clips: tuple[str, ...] = ()
    text: Any = None
    prompt: str | None = None
    label: Any = None
    reference: str | None = None

    def read(self, judge: JudgeSpec, strict: bool = False) -> Prediction:
        """The same prediction with the verdict of its text, where it is yet to be read."""
        if self.verdict is not None or self.unscored is not None:
            return self
        found = parse_verdict(self.text, judge, strict)
        return replace(self, verdict=found.verdict, shown=found.verdict, unscored=found.unscored)


def load_references(
    source: str, dataset_dir: str | os.PathLike[str] = "data", media_dir: str | None = None
) -> list[Reference]:
    """Read references.

    Args:
        source: a name in ``dataset_info.json``, a file that ``infer.sh`` takes (SageLM's JSON, pairs), or rows with
            ``id`` and a verdict in ``reference``, ``verdict`` or ``winner``.
        dataset_dir: the folder of ``dataset_info.json``.
        media_dir: what relative clip paths start from.

    Raises:
        UserError: no such source, no rows, a row without a verdict.
        RowError: a value out of the menu; names file and row.
    """
    path = Path(source)
    if path.is_file():
        first = next(islice(read_rows(path), 1), None)
        if first is None:
            raise UserError(f"{path}: holds no rows")
        if not {"audios", "audio_a", "audio_b"} & set(first):
            return _bare_references(path)
    records = load_dataset(source, dataset_dir=dataset_dir, media_dir=media_dir)
    if not records:
        raise UserError(f"{source}: holds no rows")
    unlabelled = [record for record in records if record.reference is None]
    if unlabelled:
        raise UserError(
            f"{source}, row {unlabelled[0].row}: holds no verdict, nor do {len(unlabelled) - 1} of the other "
            f"{len(records) - 1} rows; references must be labelled"
        )
    wrong = next((record for record in records if record.reference not in VERDICTS), None)
    if wrong is not None:
        raise UserError(
            f"{source}, row {wrong.row}: reference {shorten(repr(wrong.reference))} of judge {wrong.judge.type!r} is "
            f"no pairwise verdict; allowed: {', '.join(VERDICTS)}"
        )
    return [
        Reference(
            row=record.row,
            id=record.id,
            verdict=str(record.reference),
            aspect=record.aspect,
            prompt=record.prompt,
            clips=record.audios,
            judge=record.judge,
            meta=record.meta,
        )
        for record in records
    ]


def _bare_references(path: Path) -> list[Reference]:
    """Rows with a verdict but no clips: ``id``, ``aspect`` and one of ``reference``, ``verdict``, ``winner``."""
    references: list[Reference] = []
    rows_by_id: dict[str, int] = {}
    for number, row in numbered_rows(path):
        column = next((name for name in ("reference", "verdict", "winner") if row.get(name) not in (None, "")), None)
        if column is None:
            raise RowError(
                f"holds no verdict in 'reference', 'verdict' or 'winner'; its columns: {', '.join(map(str, row))}"
            ).at(path, number)
        verdict = SAGELM.canonical(row[column])
        if verdict is None:
            raise RowError(
                f"{column} {shorten(repr(row[column]))} is not in the menu; allowed: {SAGELM.allowed_values()} "
                "(declare other values in an entry of dataset_info.json and name that entry)",
                value=row[column],
            ).at(path, number)
        identity = None if row.get("id") in (None, "") else str(row["id"])
        if identity is not None and rows_by_id.setdefault(identity, number) != number:
            raise RowError(f"id {identity!r} is already that of row {rows_by_id[identity]}", value=identity).at(
                path, number
            )
        meta = {name: value for name, value in row.items() if name not in ("id", "aspect", column)}
        references.append(Reference(number, identity, verdict, row.get("aspect") or None, meta=meta))
    if len(rows_by_id) not in (0, len(references)):
        without = next(reference for reference in references if reference.id is None)
        raise RowError("has no id, but other rows have one; ids are for all rows or none").at(path, without.row)
    return references


def load_predictions(source: str) -> list[Prediction]:
    """Read predictions.

    Args:
        source: a run of ``infer.sh`` (file or folder), LLaMA-Factory's ``generated_predictions.jsonl``, or rows with
            ``id`` and the judge's text in ``predict``, ``response`` or ``raw``.

    Raises:
        UserError: no such source, no rows, several models or settings in one file, an id twice in one order, ids in
            some rows only.
        RowError: a broken row; names file and row.
    """
    path = _prediction_file(Path(source))
    columns = dict.fromkeys(name for row in read_rows(path) for name in row)
    if not columns:
        raise UserError(f"{path}: holds no rows")
    if "verdict" in columns:
        predictions = [_judged(path, number, row) for number, row in _of_one_run(path)]
    else:
        column = next((name for name in TEXT_COLUMNS if name in columns), None)
        if column is None:
            raise UserError(
                f"{path}: no row has a column 'verdict', '{', '.join(TEXT_COLUMNS)}'; its columns: "
                f"{', '.join(map(str, columns))}"
            )
        predictions = [
            Prediction(
                number,
                id=None if row.get("id") in (None, "") else str(row["id"]),
                aspect=row.get("aspect") or None,
                text=row.get(column),
                prompt=row.get("prompt") if isinstance(row.get("prompt"), str) else None,
                label=row.get("label"),
            )
            for number, row in numbered_rows(path)
        ]
    _check_ids(path, predictions)
    return predictions


def _prediction_file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"{path}: no such file or run folder")
        return path
    found = [path / name for name in RUN_FILES if (path / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{path}: holds both {' and '.join(RUN_FILES)}; name the file to evaluate")
    if (path / "journal.log").is_file():
        raise UserError(f"{path}: the run is not finished; run the same infer.sh command again, then evaluate")
    raise UserError(
        f"{path}: holds neither {' nor '.join(RUN_FILES)}; allowed: a run folder, or a file of {ROW_FORMATS}"
    )


def _judged(path: Path, number: int, row: Mapping[str, Any]) -> Prediction:
    def fail(reason: str, value: Any = None) -> RowError:
        return RowError(reason, value).at(path, number)

    verdict, order = row.get("verdict") or None, row.get("order") or "ab"
    if row.get("id") in (None, ""):
        raise fail("has no id")
    if verdict is not None and verdict not in VERDICTS:
        raise fail(f"verdict {shorten(repr(verdict))} is not allowed; allowed: {', '.join(VERDICTS)}, null", verdict)
    if order not in ("ab", "ba"):
        raise fail(f"order {shorten(repr(order))} is not allowed; allowed: ab, ba", order)
    probabilities = row.get("probabilities")
    if probabilities is not None and not (
        isinstance(probabilities, Mapping)
        and set(probabilities) <= set(VERDICTS)
        and all(isinstance(share, int | float) and 0 <= share <= 1 for share in probabilities.values())
    ):
        raise fail(f"probabilities {shorten(repr(probabilities))} must give each verdict a number from 0 to 1")
    shown_clips = tuple(map(str, row.get("audios") or ()))
    return Prediction(
        row=number,
        id=str(row["id"]),
        record_row=row.get("row") if isinstance(row.get("row"), int) else None,
        aspect=row.get("aspect"),
        order=order,
        verdict=verdict,
        shown=None if verdict is None else verdict if order == "ab" else MIRRORED[verdict],
        unscored=None if verdict is not None else str(row.get("unscored") or "no reason given"),
        probabilities=probabilities,
        clips=shown_clips if order == "ab" else shown_clips[::-1],
        reference=row.get("reference") if row.get("reference") in VERDICTS else None,
    )


def rows_of_run(predictions: str) -> tuple[Path, list[tuple[int, dict[str, Any]]]]:
    """Read the numbered rows of one run of ``infer.sh``, a file or its folder; return them with the file's path.

    Raises:
        UserError: a file that cannot be read or holds no rows, several models or settings in one file.
    """
    path = Path(predictions)
    path = path / "predictions.jsonl" if path.is_dir() else path
    rows = list(_of_one_run(path))
    if not rows:
        raise UserError(f"{path}: holds no rows")
    return path, rows


def _of_one_run(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield numbered rows; raise a UserError where they come from several models or settings."""
    first: tuple[int, dict[str, Any]] | None = None
    for number, row in numbered_rows(path):
        first = first or (number, row)
        for name in ("model", "decoding"):
            if row.get(name) != first[1].get(name):
                raise UserError(
                    f"{path}, row {number}: '{name}' is {shorten(json.dumps(row.get(name)))}, but "
                    f"{shorten(json.dumps(first[1].get(name)))} in row {first[0]}; evaluate one run at a time"
                )
        yield number, row


def _check_ids(path: Path, predictions: Sequence[Prediction]) -> None:
    with_id = [prediction for prediction in predictions if prediction.id is not None]
    if with_id and len(with_id) < len(predictions):
        without = next(prediction for prediction in predictions if prediction.id is None)
        raise UserError(f"{path}, row {without.row}: has no id, but other rows have one; ids are for all rows or none")
    seen: dict[tuple[str | None, str], int] = {}
    for prediction in with_id:
        key = (prediction.id, prediction.order)
        if seen.setdefault(key, prediction.row) != prediction.row:
            raise UserError(
                f"{path}, row {prediction.row}: id {prediction.id!r} in order {prediction.order!r} stands in row "
                f"{seen[key]} already"
            )
