"""Reading rated clips: human ratings and what a judge gave, from rows of many shapes.

A side of a row is read from the first of these that it holds: an object ``scores`` (dimension to value), a number in
``score`` (for the row's ``aspect``, by default overall quality), NISQA's and ALLD's columns ``mos, noi, col, dis,
loud``, or a text (``score_text``). Our own runs carry both sides: ``reference`` and ``raw``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earwitness.errors import RowError, UserError, shorten
from earwitness.files import ROW_FORMATS, numbered_rows
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.score_text import OVERALL, SPEECH_RATE, Value, read_values
from earwitness.metrics.scores import SPEECH_RATES, speech_rate

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
    scale: tuple[float, float] = (1, 5),
) -> list[Rating]:
    """Read ratings of both sides.

    Args:
        predictions: a file (or run folder with ``predictions.jsonl``); may carry the references itself.
        references: a file or a name in ``dataset_info.json``, joined by id; ``None`` if the predictions carry them.
        dataset_dir: the folder of ``dataset_info.json``.
        scale: references outside are an error, predictions outside are unscored.

    Raises:
        UserError: a file that cannot be read, ids that do not match or occur twice, no reference at all.
        RowError: a reference that is no number on the scale; names file and row.
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


def _references(source: str, dataset_dir: str | os.PathLike[str], scale: tuple[float, float]) -> list[Rating]:
    path = Path(source)
    if path.is_file() or path.suffix in ROW_FORMATS or os.sep in source:
        found = [_reference(path, number, row, scale) for number, row in numbered_rows(path)]
        _check_ids(path, found)
        return found
    from earwitness.data.records import load_records

    found = []
    for record in load_records(source, dataset_dir):
        row = {"id": record.id, "aspect": record.aspect, "reference": record.reference, "answer": record.response}
        found.append(replace(_reference(path, record.row, record.meta | row, scale), judge=record.judge))
    return found


def _joined(
    references: Sequence[Rating], path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], scale: tuple[float, float]
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


def _reference(path: Path, number: int, row: Mapping[str, Any], scale: tuple[float, float]) -> Rating:
    try:
        reference = row.get("reference")
        sources = {**row, "scores": reference} if isinstance(reference, Mapping) else row
        if isinstance(reference, int | float) and not isinstance(reference, bool):
            sources = {**row, "score": reference}
        text = next(
            (row[name] for name in REFERENCE_TEXTS if isinstance(row.get(name), str) and row[name].strip()), None
        )
        values = _explicit(sources, lambda name, value: _rating(name, value, scale))
        values = values or read_values(text, set(), scale)
    except RowError as error:
        raise error.at(path, number) from None
    used = {"id", "key", "audio", "audios", "reference", "score", "scores", *RATING_COLUMNS, *REFERENCE_TEXTS}
    meta = {**{name: value for name, value in row.items() if name not in used}, **(row.get("meta") or {})}
    return Rating(number, _id(row), values, reference_text=text, meta=meta)


def _prediction(row: Mapping[str, Any], rating: Rating, names: Set[str], scale: tuple[float, float]) -> dict[str, Any]:
    reference = rating.reference

    def rated(name: str, value: Any) -> Value | None:
        try:
            return _rating(name, value, scale)
        except RowError:
            return None

    text = next((row[name] for name in PREDICTION_TEXTS if isinstance(row.get(name), str)), None)
    # Where a row carries both sides, its number columns are the reference's.
    values = (_explicit(row, rated) if text is None else {}) or read_values(text, names, scale, rating.judge)
    if set(values) == {OVERALL} and OVERALL not in reference:
        # A single number rates what was asked.
        asked = "mos" if "mos" in reference else next(iter(reference)) if len(reference) == 1 else OVERALL
        values = {asked: values[OVERALL]}
    return {"prediction": values, "prediction_text": text}


def _explicit(row: Mapping[str, Any], rated: Callable[[str, Any], Value | None]) -> dict[str, Value]:
    """Ratings that stand in columns of their own."""
    if isinstance(row.get("scores"), Mapping):
        given = {" ".join(str(name).casefold().split()): value for name, value in row["scores"].items()}
    elif row.get("score") not in (None, ""):
        given = {str(row.get("aspect") or OVERALL).casefold(): row["score"]}
    else:
        given = {name: row[name] for name in RATING_COLUMNS if row.get(name) not in (None, "")}
    values = {name: rated(name, value) for name, value in given.items() if value not in (None, "")}
    return {name: value for name, value in values.items() if value is not None}


def _rating(name: str, value: Any, scale: tuple[float, float]) -> Value:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        if name == SPEECH_RATE and isinstance(value, str) and speech_rate(value):
            return value
        number = math.nan
    if not scale[0] <= number <= scale[1]:
        words = f", nor one of {', '.join(SPEECH_RATES)}" if name == SPEECH_RATE else ""
        raise RowError(
            f"{name} {shorten(repr(value))} is no number from {scale[0]:g} to {scale[1]:g} (--scale sets it){words}",
            value=value,
        )
    return number
