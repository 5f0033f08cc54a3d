"""How like the annotators' texts a judge's are: figures by task, as table 4 of SpeechEval has them.

A text that is missing or cannot be read has no similarity and no score: it is left out of the mean, counted in
``unscored``, and lowers the share of texts that were compared, which stands beside the mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earwitness.llm.lscore import Dimensions, LScore
from earwitness.metrics.evaluator_text import DIMENSIONS
from earwitness.metrics.figures import Figure
from earwitness.metrics.intervals import DEFAULT, Bootstrap
from earwitness.metrics.means import mean_figure, share_figure
from earwitness.metrics.score_files import Rating
from earwitness.metrics.similarity import SimilarityModels
from earwitness.metrics.text_files import TextCase
from earwitness.report.tables import Cell, Column, Table, unscored_notes
from earwitness.rewards.criteria import TASKS, Material


def similarity_report(
    cases: Sequence[TextCase], models: SimilarityModels, *, bootstrap: Bootstrap = DEFAULT
) -> dict[str, Any]:
    """Figures of sentence embeddings.

    Returns:
        ``texts``: for each task (lower case) ``sbert``, with a fluency checker ``fense`` and ``fluency_errors`` (share
        of the judge's texts), and ``compared`` (share of rows with both texts); ``rows``, ``unscored_reasons``.
    """
    report: dict[str, Any] = {"texts": {}}
    for task, group in _by_task(cases):
        pairs = [(one, one.case) for one in group if isinstance(one.case, Material)]
        found = models.compare([case.answer for _, case in pairs], [case.reference for _, case in pairs])
        missing, clusters = len(group) - len(pairs), _clusters([one for one, _ in pairs])
        columns: dict[str, Sequence[float] | None] = {"sbert": found.sbert, "fense": found.fense}
        figures = {
            name: mean_figure(values, unscored=missing, clusters=clusters, bootstrap=bootstrap)
            for name, values in columns.items()
            if values is not None
        }
        if found.faulty is not None:
            figures["fluency_errors"] = mean_figure(
                found.faulty, unscored=missing, clusters=clusters, bootstrap=bootstrap, share=True
            )
        figures = {name: figure.with_params(**models.params) for name, figure in figures.items()}
        figures["compared"] = share_figure(len(pairs), len(group), unscored=missing, level=bootstrap.level)
        report["texts"][task.casefold()] = figures
    reasons = Counter(one.case for one in cases if isinstance(one.case, str))
    return report | {"rows": len(cases), "unscored_reasons": dict(reasons.most_common())}


def lscore_report(
    cases: Sequence[TextCase], scores: Sequence[LScore], *, bootstrap: Bootstrap = DEFAULT
) -> dict[str, Any]:
    """Figures of an evaluator.

    Args:
        cases: what was graded.
        scores: one a case.
        bootstrap: resamples, level and seed.

    Returns:
        ``texts``: for each task (lower case) ``lscore`` (0 to 10) and ``graded`` (share of rows with a score);
        ``extracted``: of comparisons ``aspects``, dimension to ``accuracy``, the share of texts that conclude what the
        annotators' texts conclude, over those rows in which these conclude anything; ``rows``, ``unscored_reasons``.
    """
    report: dict[str, Any] = {"texts": {}, "extracted": {}}
    graded = dict(zip(map(id, cases), scores, strict=True))
    for task, group in _by_task(cases):
        given = [(one, score) for one in group if (score := graded[id(one)].score) is not None]
        missing = len(group) - len(given)
        report["texts"][task.casefold()] = {
            "lscore": mean_figure(
                [score for _, score in given],
                unscored=missing,
                clusters=_clusters([one for one, _ in given]),
                bootstrap=bootstrap,
            ),
            "graded": share_figure(len(given), len(group), unscored=missing, level=bootstrap.level),
        }
        if task == "Comparison":
            said = [graded[id(one)].consistency or {} for one in group]
            report["extracted"]["aspects"] = {
                name.casefold(): {"accuracy": _accuracy(group, [one.get(name) for one in said], bootstrap)}
                for name in DIMENSIONS
            }
    reasons = Counter(score.unscored for score in scores if score.unscored is not None)
    return report | {"rows": len(cases), "unscored_reasons": dict(reasons.most_common())}


def _accuracy(cases: Sequence[TextCase], said: Sequence[str | None], bootstrap: Bootstrap) -> Figure:
    """Share of "Consistent"; "Fail" (the annotators conclude nothing) leaves the row out, None is unscored."""
    counted = [
        (case, word == "Consistent") for case, word in zip(cases, said, strict=True) if word not in (None, "Fail")
    ]
    return mean_figure(
        [right for _, right in counted],
        unscored=sum(word is None for word in said),
        clusters=_clusters([case for case, _ in counted]),
        bootstrap=bootstrap,
        share=True,
    )


def with_extracted(ratings: Sequence[Rating], cases: Sequence[TextCase], found: Sequence[Dimensions]) -> list[Rating]:
    """Ratings whose prediction is what an evaluator extracted from the judge's text.

    Args:
        ratings: of the same rows, with people's side.
        cases: assessments.
        found: one a case.
    """
    pairs = [(case, one.values or {}) for case, one in zip(cases, found, strict=True)]
    by_id = {case.id: values for case, values in pairs if case.id is not None}
    by_row = {case.row: values for case, values in pairs if case.id is None}

    def values(rating: Rating) -> dict[str, float | str]:
        extracted = by_id.get(rating.id) if rating.id in by_id else by_row.get(rating.row)
        return {
            name.casefold(): value if isinstance(value, str) else float(value)
            for name, value in (extracted or {}).items()
            if value is not None
        }

    return [replace(rating, prediction=values(rating)) for rating in ratings]


def _by_task(cases: Sequence[TextCase]) -> list[tuple[str, list[TextCase]]]:
    return [(task, group) for task in TASKS if (group := [one for one in cases if one.task == task])]


def _clusters(cases: Sequence[TextCase]) -> list[Hashable] | None:
    """Rows about the same clips are drawn together; ``None`` where no two are."""
    keys: list[Hashable] = [tuple(sorted(one.clips)) or (one.row, one.order) for one in cases]
    return keys if len(set(keys)) < len(keys) else None


_TITLES = {"sbert": "SBERT", "fense": "FENSE", "fluency_errors": "not fluent", "lscore": "LScore"}
_SHARES = {"compared": "compared", "graded": "graded"}


def text_tables(report: Mapping[str, Any]) -> list[Table]:
    """One row a task and, where there are any, one row a dimension of comparisons."""
    names = [name for name in (*_TITLES, *_SHARES) if any(name in figures for figures in report["texts"].values())]
    columns = [
        Column("task"),
        Column("n"),
        Column("unscored"),
        *(Column((_TITLES | _SHARES)[name], interval=name in _TITLES) for name in names),
    ]
    rows: list[list[Cell]] = []
    for task, figures in report["texts"].items():
        first = figures[names[0]]
        rows.append([task, first.n, first.unscored, *(figures.get(name) for name in names)])
    notes = unscored_notes(report["unscored_reasons"])
    tables = [Table(columns, rows, "texts", notes)]
    aspects = report.get("extracted", {}).get("aspects")
    if aspects:
        accuracies = {name: figures["accuracy"] for name, figures in aspects.items()}
        cells: list[list[Cell]] = [[name, one.n, one.unscored, one] for name, one in accuracies.items()]
        headings = [Column("dimension"), Column("n"), Column("unscored"), Column("accuracy", interval=True)]
        tables.append(Table(headings, cells, "comparison: conclusions like the annotators'"))
    return tables
