"""What free-text judges name, against what the reference names: areas, distortions, intervals, preferences.

Both texts go through the judge's own parser. A name counts as right where the reference has it too; an interval by the
share of time that both cover (intersection over union, as usual in temporal localisation).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from earwitness.data.records import Record
from earwitness.errors import RowError, UserError, shorten
from earwitness.infer.datasets import load_dataset
from earwitness.judges import parse
from earwitness.judges.judgement import Judgement
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.means import mean_figures, share_figure
from earwitness.metrics.pairwise_files import rows_of_run
from earwitness.report.tables import Cell, Column, Table, unscored_notes

Names = frozenset[Hashable]
Span = tuple[float, float]


@dataclass(frozen=True)
class NamedCase:
    """One text of the judge beside the reference's, in the order of clips that was shown.

    Attributes:
        reference: what the reference names.
        answer: what the judge names; None where there is no text or its parser read nothing, which counts as wrong.
        reason: why ``answer`` is None.
    """

    reference: Judgement
    answer: Judgement | None
    reason: str | None = None


def read_named(
    predictions: str, references: str, *, dataset_dir: str | os.PathLike[str] = "data", media_dir: str | None = None
) -> list[NamedCase]:
    """Read both sides of a run of ``infer.sh`` (file or folder), one case a record and order, joined by id.

    Raises:
        UserError: a file that cannot be read, ids that do not match or occur twice, several models in one file, a
            record without a reference text.
    """
    path, rows = rows_of_run(predictions)
    records = load_dataset(references, dataset_dir=dataset_dir, media_dir=media_dir)
    answers = _by_id(path, rows, {record.id for record in records})
    orders = sorted({order for _, order in answers})
    return [_case(references, record, order, answers.get((record.id, order))) for record in records for order in orders]


def _by_id(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], known: set[str]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    answers: dict[tuple[str, str], Mapping[str, Any]] = {}
    for number, row in rows:
        key = str(row.get("id")), str(row.get("order") or "ab")
        if key[0] not in known:
            raise RowError(f"id {shorten(repr(row.get('id')))} is not in the references").at(path, number)
        if key[1] not in ("ab", "ba"):
            raise RowError(f"order {shorten(repr(key[1]))} is not allowed; allowed: ab, ba").at(path, number)
        if key in answers:
            raise RowError(f"id {key[0]!r} in order {key[1]!r} occurs twice").at(path, number)
        answers[key] = row
    return answers


def _case(name: str, record: Record, order: str, row: Mapping[str, Any] | None) -> NamedCase:
    response = (record if order == "ab" else record.swapped()).response
    if response is None:
        raise UserError(f"{name}, row {record.row}: has no reference text in order {order!r} to compare with")
    reference = parse(response, record.judge)
    raw = None if row is None else row.get("raw")
    if not isinstance(raw, str):
        return NamedCase(reference, None, "no prediction" if row is None else str(row.get("unscored") or "no text"))
    answer = parse(raw, record.judge)
    return NamedCase(reference, None if answer.unscored else answer, answer.unscored)


def named_report(cases: Sequence[NamedCase], bootstrap: Bootstrap = DEFAULT) -> dict[str, Any]:
    """Figures of everything that the references name at all.

    Returns:
        ``names`` (areas, distortions, and each dimension of the preferences) to ``exact`` (share of rows with exactly
        the reference's names; unscored rows count as wrong), ``f1`` (over all names, n of which there are in both
        texts together) and ``constant`` (``exact`` of always giving the commonest answer); ``intervals`` (mean
        intersection over union, n intervals of references), ``rows``, ``unscored_reasons``.
    """
    names: dict[str, Any] = {}
    for title, read in (("areas", _areas), ("distortions", _distortions)):
        references = [read(case.reference) for case in cases]
        if any(references):
            answers = [None if case.answer is None else read(case.answer) for case in cases]
            names[title] = _of_sets(references, answers, bootstrap)
    for dimension in dict.fromkeys(name for case in cases for name in case.reference.preferences):
        asked = [case for case in cases if dimension in case.reference.preferences]
        wanted: list[Names] = [frozenset([case.reference.preferences[dimension]]) for case in asked]
        given = [None if case.answer is None else _preference(case.answer, dimension) for case in asked]
        names[f"preference: {dimension}"] = _of_sets(wanted, given, bootstrap)
    return {
        "names": names,
        "intervals": _intervals(cases, bootstrap),
        "rows": len(cases),
        "unscored_reasons": dict(Counter(case.reason for case in cases if case.reason).most_common()),
    }


def _areas(judgement: Judgement) -> Names:
    return frozenset(area.casefold() for area in judgement.areas)


def _distortions(judgement: Judgement) -> Names:
    return frozenset((found.clip, found.kind) for found in judgement.distortions if found.kind is not None)


def _preference(judgement: Judgement, dimension: str) -> Names:
    verdict = judgement.preferences.get(dimension)
    return frozenset() if verdict is None else frozenset([verdict])


def _of_sets(references: Sequence[Names], answers: Sequence[Names | None], bootstrap: Bootstrap) -> dict[str, Figure]:
    unscored = sum(answer is None for answer in answers)
    rows = []
    for reference, answer in zip(references, answers, strict=True):
        found = frozenset() if answer is None else answer
        rows.append((float(reference == answer), 2.0 * len(reference & found), float(len(reference) + len(found))))
    exact, both, size = zip(*rows, strict=True)
    figures = {
        "exact": mean_figures([[one] for one in exact], unscored=[unscored], bootstrap=bootstrap, shares=True)[0],
        "f1": mean_figures([[one] for one in both], [[one] for one in size], unscored=[unscored], bootstrap=bootstrap)[
            0
        ],
    }
    return figures | {"constant": share_figure(max(Counter(references).values()), len(references))}


def _intervals(cases: Sequence[NamedCase], bootstrap: Bootstrap) -> Figure:
    above, below, unscored = [], [], 0
    for case in cases:
        clips = {found.clip for found in case.reference.distortions if found.start is not None}
        given = () if case.answer is None else case.answer.distortions
        shares = [
            overlap(_spans(case.reference.distortions, clip), _spans(given, clip)) for clip in sorted(map(_clip, clips))
        ]
        above.append([sum(shares)])
        below.append([float(len(shares))])
        unscored += len(shares) if case.answer is None else 0
    return mean_figures(above, below, unscored=[unscored], bootstrap=bootstrap)[0]


def _clip(clip: int | None) -> int:
    return 0 if clip is None else clip


def _spans(distortions: Sequence[Any], clip: int) -> list[Span]:
    return [(one.start, one.end) for one in distortions if one.start is not None and _clip(one.clip) == clip]


def overlap(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Intersection over union of two sets of intervals in seconds, 0 to 1; 0 where neither has any length."""
    edges = sorted({edge for span in (*one, *other) for edge in span})
    both = either = 0.0
    for start, end in pairwise(edges):
        inside = [any(low <= start and end <= high for low, high in spans) for spans in (one, other)]
        both += (end - start) * all(inside)
        either += (end - start) * any(inside)
    return both / either if either else 0.0


def named_table(report: Mapping[str, Any]) -> Table:
    """One row for what is named; the intervals below a rule."""
    columns = [
        Column(""),
        Column("rows"),
        Column("unscored"),
        Column("exact(%)", 100, 1, interval=True),
        Column("constant(%)", 100, 1),
        Column("F1(%)", 100, 1, interval=True),
    ]
    rows: list[list[Cell]] = [
        [name, figures["exact"].n, figures["exact"].unscored, figures["exact"], figures["constant"], figures["f1"]]
        for name, figures in report["names"].items()
    ]
    notes = ["constant: the exact share of a judge that always gives the commonest answer"]
    spans: Figure = report["intervals"]
    if spans.value is not None:
        between = "" if spans.ci is None else f" [{100 * spans.ci[0]:.1f}, {100 * spans.ci[1]:.1f}]"
        notes.append(
            f"intervals of distortions, intersection over union: {100 * spans.value:.1f} %{between}, n {spans.n}, "
            f"unscored {spans.unscored}"
        )
    notes += unscored_notes(report["unscored_reasons"])
    return Table(columns, rows, "", notes)
