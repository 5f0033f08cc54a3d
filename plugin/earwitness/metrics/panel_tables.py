"""The tables that ``evaluate_raters.py`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from earwitness.report.tables import Cell, Column, Table

_FIGURES = {"agreement": "equal", "kappa": "kappa", "pcc": "PCC", "srcc": "SRCC", "mse": "MSE"}


def panel_tables(
    report: Mapping[str, Any], differing: Sequence[Mapping[str, Any]], models: Sequence[str]
) -> list[Table]:
    """Every two observers, agreement of all, the ceiling that people set, and the disagreements to look at.

    Args:
        report: of ``panel_report``, with the number of ``disagreements``.
        differing: those to print.
        models: their names, the judge first.
    """
    names = [name for name in _FIGURES if name in report["pairs"][0]]
    columns = [Column("one"), Column("the other", left=True), Column("n"), Column("unscored")]
    columns += [Column(_FIGURES[name], interval=True) for name in names]
    rows: list[list[Cell]] = []
    for pair in report["pairs"]:
        first = pair[names[0]]
        rows.append([pair["a"], pair["b"], first.n, first.unscored, *(pair[name] for name in names)])
    title = f"{report['rows']} items, up to {report['raters']} people each"
    notes = sorted({f"{pair[name].reason}" for pair in report["pairs"] for name in names if pair[name].reason})
    tables = [Table(columns, rows, title, notes)]
    alphas: list[list[Cell]] = [[who, alpha.n, alpha] for who, alpha in report["alpha"].items()]
    tables.append(Table([Column("Krippendorff's alpha"), Column("items"), Column("alpha", interval=True)], alphas))
    if "ceiling" in report:
        cells: list[list[Cell]] = [
            [who, figures["accuracy"].n, figures["accuracy"], figures["agreement"]]
            for who, figures in report["ceiling"].items()
        ]
        headings = [Column("against the majority of the other people"), Column("n")]
        headings += [Column(name, 100, 2, interval=True) for name in ("Accuracy", "Agreement")]
        tables.append(Table(headings, cells))
    if differing:
        columns = [Column("row"), Column("id", left=True), Column("aspect", left=True), Column("confidence")]
        columns += [Column(name, left=True) for name in (*models, "people")]
        listed: list[list[Cell]] = [
            [
                f"{row['row']}",
                row["id"] or "",
                row["aspect"] or "",
                None if row["confidence"] is None else f"{row['confidence']:.3f}",
                *(_written(row["models"][name]) for name in models),
                ", ".join(_written(value) for value in row["people"].values()),
            ]
            for row in differing
        ]
        shown = f"{len(listed)} of {report['disagreements']} disagreements, {models[0]}'s most confident first"
        tables.append(Table(columns, listed, shown))
    return tables


def _written(value: Any) -> str:
    return "unscored" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
