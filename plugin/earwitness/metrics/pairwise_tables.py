"""The tables that ``evaluate_pairwise.py`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earwitness.metrics.figures import Figure
from earwitness.report.tables import Cell, Column, Table, unscored_notes


def verdict_table(report: Mapping[str, Any]) -> Table:
    """Accuracy and Agreement by aspect and overall, then by whatever else the report splits."""
    columns = [
        Column("aspect"),
        Column("n"),
        Column("unscored"),
        Column("Accuracy", 100, 2, interval=True),
        Column("Agreement", 100, 2, interval=True),
        Column("scored only", 100, 2),
        Column("coverage", 100, 1),
    ]
    aspects = report["aspects"]
    rows: list[list[Cell]] = [_row(name, section) for name, section in aspects.items()]
    rules = {len(rows)} if len(rows) > 1 else set()
    rows = rows if len(rows) > 1 else []
    rows.append(_row("overall", report["overall"]))
    groups = [
        ("order", report.get("orders", {})),
        ("", report.get("splits", {})),
        *((title.partition(":")[0], sections) for title, sections in report["by"].items()),
    ]
    for title, sections in groups:
        if sections:
            rules.add(len(rows))
            rows += [_row(f"{title} {name}".strip(), section) for name, section in sections.items()]
    notes = unscored_notes(report["unscored_reasons"])
    return Table(columns, rows, notes=notes, rules=frozenset(rules))


def _row(name: str, section: Mapping[str, Figure]) -> list[Cell]:
    accuracy = section["accuracy"]
    return [
        name,
        accuracy.n,
        accuracy.unscored,
        accuracy,
        section["agreement"],
        section["accuracy_scored"],
        section["coverage"],
    ]


def trust_table(report: Mapping[str, Any]) -> Table:
    """One figure a row: what the verdicts are worth beyond their accuracy."""
    columns = [Column("figure"), Column("value", 1, 3, interval=True), Column("n"), Column("remark", left=True)]
    bias = report["position_bias"]
    chance = report["chance"]
    test = "no row leans" if bias["p_value"] is None else f"p = {bias['p_value']:.3g}"
    rows: list[list[Cell]] = []
    if "swap_consistency" in report:
        rows.append(_figure("swap consistency", report["swap_consistency"], "same verdict in both orders"))
    leaning = f"{bias['toward_first']} to first, {bias['toward_second']} to second, {test}; vs {bias['compared_with']}"
    rows.append(_figure("position shift", bias["shift"], leaning))
    rows.append(_figure("share of first", bias["first_share"], "of decisive verdicts as shown"))
    rows.append(_figure("Cohen's kappa", report["overall"]["kappa"], "against the references"))
    if "calibration" in report:
        rows.append(_figure("ECE", report["calibration"]["ece"], "expected calibration error"))
        rows.append(_figure("AURC", report["risk_coverage"]["area"], "area under risk-coverage"))
    for who, figures in report.get("raters", {}).items():
        if who == "alpha":
            rows.append(_figure("Krippendorff's alpha", figures, "among the raters"))
        else:
            remark = "one rater against the majority of the others" if who == "human" else "against the same majorities"
            rows.append(_figure(f"{who} accuracy", figures["accuracy"], remark))
    rows.append(_figure("chance accuracy", chance["accuracy"], "uniform guess over three verdicts"))
    rows.append(_figure("majority accuracy", chance["majority"], "always the most frequent verdict"))
    if "duel" in report:
        duel = report["duel"]
        p_value = duel["mcnemar"]["p_value"]
        test = "they never differ" if p_value is None else f"McNemar p = {p_value:.3g}"
        rows.append(_figure("accuracy difference", duel["accuracy"], f"to the other judge; {test}"))
        rows.append(_figure("agreement difference", duel["agreement"], "to the other judge"))
    return Table(columns, rows)


def ranking_table(ranking: Mapping[str, Any]) -> Table:
    """Systems from best to worst by the judge, beside people's figures, and what to distrust below."""
    columns = [
        Column("system"),
        Column("rating", 1, 0, interval=True),
        Column("win rate", 100, 1, interval=True),
        Column("n"),
        Column("people's rating", 1, 0, interval=True),
        Column("people's win rate", 100, 1),
    ]
    people = {standing.system: standing for standing in ranking["people"].standings}
    rows: list[list[Cell]] = []
    for standing in ranking["judge"].standings:
        other = people[standing.system]
        rows.append(
            [standing.system, standing.rating, standing.win_rate, standing.matches, other.rating, other.win_rate]
        )
    judge = ranking["judge"]
    notes = [f"Spearman's rho of the win rates: {Column('').write(ranking['srcc'])}", *judge.notes]
    if judge.cycles:
        notes.append(f"cycles (each beats the next): {'; '.join(' > '.join(cycle) for cycle in judge.cycles)}")
    if judge.thin:
        notes.append(f"few comparisons: {'; '.join(f'{a} - {b}: {n}' for a, b, n in judge.thin)}")
    return Table(columns, rows, notes=notes)


def _figure(name: str, figure: Figure, remark: str) -> list[Cell]:
    return [name, figure, figure.n, remark if figure.value is not None else str(figure.reason)]
