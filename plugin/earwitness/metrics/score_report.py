"""How a judge's scores follow people's: by dimension, at clip and system level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.errors import UserError
from earwitness.judges.sections import split_response
from earwitness.metrics.bleu import bleu
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.score_files import Rating
from earwitness.metrics.score_text import SPEECH_RATE
from earwitness.metrics.scores import mean_of_figures, score_figures, speech_rate_accuracy, system_figures
from earwitness.report.tables import Cell, Column, Table


def score_report(
    ratings: Sequence[Rating],
    *,
    system: str | None = None,
    cluster: str | None = None,
    tokenize: str | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> dict[str, Any]:
    """Figures of every dimension that people rated.

    Args:
        ratings: both sides of each clip.
        system: column that names the system of each clip, for figures over systems.
        cluster: column whose equal values are drawn together.
        tokenize: BLEU tokenizer for the texts; ``None`` for no BLEU.
        bootstrap: resamples, level and seed.

    Returns:
        ``dimensions`` (name to ``pcc, srcc, ktau, mse``), ``average_pcc``, ``speech_rate_accuracy`` where people gave
        categories, ``systems`` likewise by dimension, ``bleu``, ``rows``.

    Raises:
        UserError: a column that no row has, or a dimension with both words and numbers.
    """
    for option, name in (("--system", system), ("--cluster", cluster)):
        if name is not None and not any(rating.meta.get(name) is not None for rating in ratings):
            names = ", ".join(sorted({str(key) for rating in ratings for key in rating.meta})) or "none"
            raise UserError(f"{option} {name!r}: no row has a value in this column; their columns: {names}")
    report: dict[str, Any] = {"dimensions": {}, "systems": {}, "rows": len(ratings)}
    for name in dict.fromkeys(name for rating in ratings for name in rating.reference):
        rated = [rating for rating in ratings if name in rating.reference]
        references = [rating.reference[name] for rating in rated]
        keys = None if cluster is None else [str(rating.meta.get(cluster)) for rating in rated]
        if name == SPEECH_RATE:
            words = [rating.prediction.get(name) for rating in rated]
            report["speech_rate_accuracy"] = speech_rate_accuracy(
                [str(value) for value in references],
                [None if word is None else str(word) for word in words],
                clusters=keys,
                bootstrap=bootstrap,
            )
            continue
        numbers = [value for value in references if isinstance(value, float)]
        if len(numbers) < len(references):
            raise UserError(f"{name}: the references hold both numbers and words; numbers are needed")
        given = [value if isinstance(value := rating.prediction.get(name), float) else None for rating in rated]
        report["dimensions"][name] = vars(score_figures(numbers, given, clusters=keys, bootstrap=bootstrap))
        if system is not None:
            of = [str(rating.meta.get(system)) for rating in rated]
            report["systems"][name] = vars(system_figures(numbers, given, of, bootstrap=bootstrap))
    report["average_pcc"] = mean_of_figures({name: figures["pcc"] for name, figures in report["dimensions"].items()})
    if tokenize is not None:
        texts = [rating for rating in ratings if rating.reference_text]
        report["bleu"] = bleu(
            [_answer(rating.reference_text) or "" for rating in texts],
            [_answer(rating.prediction_text) for rating in texts],
            tokenize=tokenize,
            bootstrap=bootstrap,
        )
    return report


def _answer(text: str | None) -> str | None:
    """What a response says when its thought is left out."""
    return split_response(text or "", False).answer


def score_tables(report: Mapping[str, Any]) -> list[Table]:
    """Clip level, then system level where there is one."""
    columns = [
        Column("dimension"),
        Column("n"),
        Column("unscored"),
        Column("PCC", interval=True),
        Column("SRCC", interval=True),
        Column("KTAU", interval=True),
        Column("MSE", interval=True),
    ]
    tables = []
    for title, dimensions in (("clips", report["dimensions"]), ("systems", report["systems"])):
        if not dimensions and title == "systems":
            continue
        rows: list[list[Cell]] = [
            [name, figures["pcc"].n, figures["pcc"].unscored, *(figures[key] for key in ("pcc", "srcc", "ktau", "mse"))]
            for name, figures in dimensions.items()
        ]
        notes = [f"{name}: {figures['pcc'].reason}" for name, figures in dimensions.items() if figures["pcc"].reason]
        if title == "clips":
            notes += [_line(name, report[key]) for name, key in _EXTRA if key in report]
        tables.append(Table(columns, rows, title, notes))
    return tables


_EXTRA = (("AVG PCC", "average_pcc"), ("SR ACC", "speech_rate_accuracy"), ("BLEU", "bleu"))


def _line(name: str, figure: Figure) -> str:
    return f"{name}: {Column('', interval=True).write(figure)} (n {figure.n}, unscored {figure.unscored})"
