"""Reading a panel: references with the verdicts or scores of single raters, and the runs of models."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.errors import UserError, shorten
from earwitness.infer.decide import combine_orders
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.breakdown import check_column
from earwitness.metrics.joining import Judgement, join
from earwitness.metrics.pairwise_files import load_predictions, load_references
from earwitness.metrics.panel import PanelItem, Value
from earwitness.metrics.scales import FIVE_POINTS, Scale
from earwitness.metrics.score_files import Rating, read_ratings


def verdict_panel(
    references: str,
    raters: str,
    models: Mapping[str, str],
    *,
    dataset_dir: str | os.PathLike[str] = "data",
    media_dir: str | None = None,
) -> tuple[list[PanelItem], bool]:
    """Read pairwise verdicts.

    Args:
        references: as ``load_references`` takes them.
        raters: their column with each rater's verdict: an object (rater to verdict), or a list of nameless ones.
        models: name to run, as ``load_predictions`` takes it; a run in both orders is combined (``combine_orders``).
        dataset_dir: the folder of ``dataset_info.json``.
        media_dir: what relative clip paths start from.

    Returns: one item a reference, and whether raters have names.

    Raises:
        UserError: files that do not belong together, no such column, a verdict out of the menu.
    """
    read = load_references(references, dataset_dir, media_dir)
    check_column("--raters", raters, [reference.meta for reference in read])
    said = {name: _verdicts(join(read, load_predictions(source)).judgements) for name, source in models.items()}
    people = [_people(one.meta.get(raters), raters, one.row, one.judge) for one in read]
    items = []
    for reference, given in zip(read, people, strict=True):
        verdicts = {name: by_row[reference.row][0] for name, by_row in said.items()}
        confidence = said[next(iter(models))][reference.row][1]
        items.append(
            PanelItem(reference.row, reference.id, reference.aspect, reference.clips, given, verdicts, confidence)
        )
    return items, _named([one.meta.get(raters) for one in read])


def _verdicts(judgements: Sequence[Judgement]) -> dict[int, tuple[str | None, float | None]]:
    """Verdict and its probability by row of the reference; both orders make one."""
    rows: list[dict[str, Any]] = [
        {
            "dataset": "",
            "id": one.reference.row,
            "order": one.prediction.order,
            "verdict": one.prediction.verdict,
            "unscored": one.prediction.unscored,
            "probabilities": one.prediction.probabilities,
        }
        for one in judgements
    ]
    both = len({row["id"] for row in rows}) < len(rows)
    combined = list(combine_orders(rows)) if both else rows
    return {
        row["id"]: (row["verdict"], (row["probabilities"] or {}).get(row["verdict"]) if row["verdict"] else None)
        for row in combined
    }


def score_panel(
    references: str,
    raters: str,
    models: Mapping[str, str],
    *,
    dimension: str | None = None,
    dataset_dir: str | os.PathLike[str] = "data",
    scale: Scale = FIVE_POINTS,
) -> tuple[list[PanelItem], bool]:
    """Read scores of clips.

    Args:
        references: as ``read_ratings`` takes them, with ids.
        raters: their column with each rater's score: an object (rater to score), or a list of nameless ones.
        models: name to run.
        dimension: which of several to compare; by default the only one.
        dataset_dir: the folder of ``dataset_info.json``.
        scale: of references and raters.

    Returns: one item a reference, and whether raters have names.

    Raises:
        UserError: files that do not belong together, no such column or dimension, a score off the scale.
    """
    read = {
        name: read_ratings(source, references, dataset_dir=dataset_dir, scale=scale) for name, source in models.items()
    }
    first = next(iter(read.values()))
    check_column("--raters", raters, [rating.meta for rating in first])
    names = sorted({name for rating in first for name in rating.reference})
    if dimension is None and len(names) > 1:
        raise UserError(f"--dimension: the references hold several; give one of {', '.join(names)}")
    asked = (dimension or names[0]).casefold()
    if asked not in names:
        raise UserError(f"--dimension {dimension!r}: the references do not hold it; they hold {', '.join(names)}")

    def score(rating: Rating) -> float | None:
        value = rating.prediction.get(asked)
        return value if isinstance(value, float) else None

    items = [
        PanelItem(
            at,
            rating.id,
            asked,
            (),
            _people(rating.meta.get(raters), raters, at, None, scale),
            {name: score(ratings[at - 1]) for name, ratings in read.items()},
        )
        for at, rating in enumerate(first, 1)
    ]
    return items, _named([rating.meta.get(raters) for rating in first])


def _named(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Mapping) for value in values)


def _people(given: Any, column: str, row: int, judge: JudgeSpec | None, scale: Scale = FIVE_POINTS) -> dict[str, Value]:
    """Each rater's verdict (with a judge's menu) or score (on the scale) in one row."""
    if given is None:
        return {}
    if isinstance(given, list):
        given = {f"{at}": value for at, value in enumerate(given, 1)}
    if not isinstance(given, Mapping):
        raise UserError(
            f"reference row {row}: {column!r} must hold a list or an object (rater to value), but holds "
            f"{shorten(repr(given))}"
        )
    people: dict[str, Value] = {}
    for rater, value in given.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        read: Value | None = scale.number(value) if judge is None else judge.canonical(value)
        if read is None:
            allowed = scale.allowed() if judge is None else judge.allowed_values()
            raise UserError(
                f"reference row {row}: rater {rater} in {column!r} gave {shorten(repr(value))}; allowed: "
                f"{allowed}, null"
            )
        people[str(rater)] = read
    return people
