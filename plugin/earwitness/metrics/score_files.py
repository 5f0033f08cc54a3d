"""Reading rated clips: human ratings and what a judge gave, from rows of many shapes.

A side of a row is read from the first of these that it holds: an object ``scores`` (dimension to value), a number in
``score`` (for the row's ``aspect``, by default overall quality), NISQA's and ALLD's columns ``mos, noi, col, dis,
loud``, or a text (``score_text``). Our own runs carry both sides: ``reference`` and ``raw``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earwitness.errors import RowError, UserError, shorten
from earwitness.files import ROW_FORMATS, numbered_rows
from earwitness.judges import parse
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.scales import FIVE_POINTS, Scale
from earwitness.metrics.score_text import OVERALL, SPEECH_RATE, Value, rated, read_values

RATING_COLUMNS = ("mos", "noi", "col", "dis", "loud")
REFERENCE_TEXTS = ("labels", "label", "solution", "output", "answer")
PREDICTION_TEXTS = ("raw", "response", "predict", "text")


@dataclass(frozen=True)
class Rating:
    """One clip, rated by people and by the judge.

    Attributes:
        row: place in its file, from 1.
        id: names the clip; ``None`` in files without ids.
        reference: dimension to number, or to a word for categories; empty where unlabelled.
        prediction: likewise; empty where nothing could be read.
        reference_text: what people wrote, for BLEU; ``None`` without.
        prediction_text: what the judge wrote; ``None`` without.
        meta: every other column.
        judge: whose parser reads the prediction; ``None`` where unknown.
    """

    row: int
    id: str | None
    reference: Mapping[str, Value] = field(default_factory=dict, hash=False)
    prediction: Mapping[str, Value] = field(default_factory=dict, hash=False)
    reference_text: str | None = None
    prediction_text: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)
    judge: JudgeSpec | None = None


def read_ratings(
    predictions: str,
    references: str | None = None,
    *,
    dataset_dir: str | os.PathLike[str] = "data",
    scale: Scale = FIVE_POINTS,
) -> list[Rating]:
    """Read ratings of both sides.

    Args:
        predictions: a file (or run folder with ``predictions.jsonl``); may carry the references itself.
        references: a file or a name in ``dataset_info.json``, joined by id; ``None`` if the predictions carry them.
        dataset_dir: the folder of ``dataset_info.json``.
        scale: references off it are an error, predictions off it are unscored.

    Raises:
        UserError: a file that cannot be read, ids that do not match or occur twice, no reference at all.
        RowError: a reference that is not on the scale; names file and row.
    """
    path = Path(predictions)
    path = path / "predictions.jsonl" if path.is_dir() else path
    rows = list(numbered_rows(path))
    if references is not None:
        return _joined(_references(references, dataset_dir, scale), path, rows, scale)
    labelled = [_reference(path, number, row, scale) for number, row in rows]
    if not any(rating.reference for rating in labelled):
        raise UserError(f"{path}: no row carries a reference; give them with --references")
    names = _dimensions(labelled)
    found = [
        replace(rating, **_prediction(row, rating, names, scale))
        for rating, (_, row) in zip(labelled, rows, strict=True)
    ]
    _check_ids(path, found)
    return found


def _references(source: str, dataset_dir: str | os.PathLike[str], scale: Scale) -> list[Rating]:
    path = Path(source)
    if path.is_file() or path.suffix in ROW_FORMATS or os.sep in source:
        found = [_reference(path, number, row, scale) for number, row in numbered_rows(path)]
        _check_ids(path, found)
        return found
    from earwitness.data.records import iter_records

    found = []
    for record in iter_records(source, dataset_dir):
        row = {"id": record.id, "aspect": record.aspect, "reference": record.reference, "answer": record.response}
        found.append(_reference(path, record.row, record.meta | row, _scale_of(record.judge, scale), record.judge))
    return found


def _joined(
    references: Sequence[Rating], path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], scale: Scale
) -> list[Rating]:
    names = _dimensions(references)
    if not names:
        raise UserError("no reference row holds a rating")
    by_id = {rating.id: rating for rating in references if rating.id is not None}
    joined: dict[str, Rating] = {}
    for number, row in rows:
        id = _id(row)
        if id is None:
            raise UserError(f"{path}, row {number}: has no id to join it with the references by")
        if id not in by_id:
            raise UserError(f"{path}, row {number}: id {id!r} is not in the references")
        if id in joined:
            raise UserError(f"{path}, row {number}: id {id!r} occurs twice")
        reference = by_id[id]
        joined[id] = replace(reference, row=number, **_prediction(row, reference, names, scale))
    # References without a prediction stay, unscored: they are part of the question.
    return [joined.get(str(rating.id), rating) for rating in references]


def _dimensions(ratings: Iterable[Rating]) -> Set[str]:
    return {name for rating in ratings for name in rating.reference}


def _check_ids(path: Path, ratings: Sequence[Rating]) -> None:
    seen: dict[str, int] = {}
    for rating in ratings:
        if rating.id is not None and seen.setdefault(rating.id, rating.row) != rating.row:
            raise UserError(f"{path}, row {rating.row}: id {rating.id!r} is already that of row {seen[rating.id]}")


def _id(row: Mapping[str, Any]) -> str | None:
    audios = row.get("audios")
    audio = audios[0] if isinstance(audios, list) and audios else None
    value = next((row[name] for name in ("id", "key", "audio") if row.get(name) not in (None, "")), audio)
    return None if value is None else str(value)


def _reference(path: Path, number: int, row: Mapping[str, Any], scale: Scale, judge: JudgeSpec | None = None) -> Rating:
    """The side of people: in a row of ours ``reference``, else the first that the row holds."""
    reference = row.get("reference")
    text = next((row[name] for name in REFERENCE_TEXTS if isinstance(row.get(name), str) and row[name].strip()), None)
    if reference is not None or "raw" in row:
        given = dict(reference) if isinstance(reference, Mapping) else {str(row.get("aspect") or OVERALL): reference}
    else:
        given = _columns(row)
    given = {name: value for name, value in given.items() if value not in (None, "")}
    values = rated(given, scale)
    if len(values) < len(given):
        wrong = next(name for name in given if " ".join(name.casefold().split()) not in values)
        raise RowError(
            f"{wrong} {shorten(repr(given[wrong]))} is not on the scale; allowed: {scale.allowed()} "
            "(--scale or --levels sets it)",
            value=given[wrong],
        ).at(path, number)
    if judge is not None and text is not None:  # the dimensions of an assessment, beside its overall score
        read = parse(text, judge)
        values = {**rated({**read.scores, SPEECH_RATE: read.categories.get(SPEECH_RATE)}, scale), **values}
    values = values or read_values(text, set(), scale, judge)
    used = {"id", "key", "audio", "audios", "reference", "score", "scores", *RATING_COLUMNS, *REFERENCE_TEXTS}
    meta = {**{name: value for name, value in row.items() if name not in used}, **(row.get("meta") or {})}
    return Rating(number, _id(row), values, reference_text=text, meta=meta, judge=judge)


def _scale_of(judge: JudgeSpec | None, otherwise: Scale) -> Scale:
    """The words of a judge that answers in words, else the declared scale."""
    words = judge.scale if judge is not None and judge.scale and isinstance(judge.scale[0], str) else ()
    return Scale(levels=tuple(map(str, words))) if words else otherwise


def _prediction(row: Mapping[str, Any], rating: Rating, names: Set[str], scale: Scale) -> dict[str, Any]:
    """The side of the judge: what our runs have read already, else its text, else number columns."""
    scale = _scale_of(rating.judge, scale)
    text = next((row[name] for name in PREDICTION_TEXTS if isinstance(row.get(name), str)), None)
    values: dict[str, Value] = {}
    if "raw" in row or text is None:
        read = row.get("read") if isinstance(row.get("read"), Mapping) else {}
        given = _columns(row) if "raw" not in row else {**(row.get("scores") or {}), OVERALL: row.get("score")}
        values = rated({**given, SPEECH_RATE: (read or {}).get("categories", {}).get(SPEECH_RATE)} | given, scale)
    values = values or read_values(text, names, scale, rating.judge)
    reference = rating.reference
    if OVERALL in values and OVERALL not in reference:
        # A single number rates what was asked.
        asked = "mos" if "mos" in reference else next(iter(reference)) if len(reference) == 1 else OVERALL
        values.setdefault(asked, values[OVERALL])
    return {"prediction": values, "prediction_text": text}


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ratings that stand in columns of their own."""
    if isinstance(row.get("scores"), Mapping):
        return dict(row["scores"])
    if row.get("score") not in (None, ""):
        return {str(row.get("aspect") or OVERALL): row["score"]}
    return {name: row[name] for name in RATING_COLUMNS if name in row}
