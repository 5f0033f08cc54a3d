"""The tables of the papers in their own layout, filled from the JSON that the evaluation scripts write.

SpeechEval (Wang et al. 2025) tables 4, 5, 6, 7, 13 and 14; SageLM (Ge et al. 2025) semantic and acoustic; ALLD (Chen et
al. 2025) MOS and A/B. A cell whose figure is in no file is a dash, never a zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.errors import UserError
from earwitness.metrics.figures import Figure
from earwitness.report.published import NOTES, Row
from earwitness.report.tables import Cell, Column, Table

Results = Mapping[str, Mapping[str, Any]]
"""Kind of report ("pairwise", "scores", "detection", "texts") to its JSON."""
Where = tuple[str, ...]
"""Kind of report and keys down to one figure."""

_KINDS = {"det": "detection", "dimensions": "scores", "aspects": "pairwise", "texts": "texts"}
"""A key that tells each kind of report."""

REPORT_NAMES = ("metrics.json", "pairwise.json", "scores.json", "detection.json", "texts.json", "lscore.json")
"""Reports that are looked for in a run folder."""


def read_results(paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read the reports of one model.

    Args:
        paths: JSON files of ``evaluate_*.py --json``, or folders that hold some under one of ``REPORT_NAMES``. Text
            metrics come as ``{"texts": {TASK: {"lscore", "sbert", "fense"}}}`` with TASK assessment, comparison or
            suggestion; those of several files are put together.

    Raises:
        UserError: no such file, no report, two reports of one kind, or one text metric of a task twice.
    """
    results: dict[str, dict[str, Any]] = {}
    for given in paths:
        path = Path(given)
        files = [path / name for name in REPORT_NAMES if (path / name).is_file()] if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path}: holds none of {', '.join(REPORT_NAMES)}; write one with evaluate_*.py --json")
        for file in files:
            if not file.is_file():
                raise UserError(f"{file}: no such file")
            try:
                report = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{file}: not readable as JSON: {error}") from None
            kinds = [kind for key, kind in _KINDS.items() if isinstance(report, dict) and key in report]
            if not kinds:
                raise UserError(f"{file}: no report of evaluate_*.py; it has none of the keys {', '.join(_KINDS)}")
            for kind in kinds:
                if kind == "texts":
                    results[kind] = _with_texts(file, results.get(kind, {}), report)
                    continue
                if kind in results:
                    raise UserError(f"{file}: a second report of kind {kind!r} for the same model; give one of each")
                results[kind] = report
    return results


def _with_texts(file: Path, known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Text metrics of both by task, and what evaluators extracted; what both have is an error."""
    joined: dict[str, dict[str, Any]] = {}
    for part in ("texts", "extracted"):
        joined[part] = {name: dict(figures) for name, figures in known.get(part, {}).items()}
        for name, figures in new.get(part, {}).items():
            twice = set(figures) & set(joined[part].setdefault(name, {}))
            if twice:
                raise UserError(f"{file}: a second {min(twice)!r} of {name!r} for the same model; give one of each")
            joined[part][name] |= figures
    return joined


def _figure(results: Results, where: Where) -> Figure | None:
    """The figure at ``where``; one that an evaluator extracted from texts stands in for one that was read directly."""
    for place in (where, ("texts", "extracted", *where[1:])):
        found: Any = results
        for key in place:
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and "value" in found:
            return Figure.from_json(found)
    return None


@dataclass(frozen=True)
class Layout:
    """A table with one row a model.

    Attributes:
        title: above the table.
        columns: heading and form of each figure, and where it is found.
        first: heading of the first column.
    """

    title: str
    columns: Sequence[tuple[Column, Where]]
    first: str = "MODEL"

    def rows(self, models: Mapping[str, Results]) -> list[list[Cell]]:
        """One row a model."""
        return [[name, *(_figure(results, where) for _, where in self.columns)] for name, results in models.items()]

    def headings(self) -> list[Column]:
        """All columns."""
        return [Column(self.first), *(column for column, _ in self.columns)]

    def published_rows(self, given: Sequence[Row]) -> list[list[Cell]]:
        """Rows of a paper, marked "(paper)"."""
        columns = [column for column, _ in self.columns]
        return [
            [
                *self.published_name(name),
                *(
                    None if value is None else Figure(value / column.scale, 0, params={"source": "published"})
                    for column, value in zip(columns, values, strict=True)
                ),
            ]
            for name, *values in given
        ]

    def published_name(self, name: str) -> list[Cell]:
        """The cells before the figures of a paper's row."""
        return [f"{name} (paper)"]

    def wrong_name(self, name: str) -> str:
        """Why a paper's row cannot have this name, and which are allowed; empty where it can."""
        return ""


@dataclass(frozen=True)
class TwoRowLayout(Layout):
    """A table with Accuracy and Agreement of a model below each other, as SageLM's scripts print them.

    A paper's rows are named as they are printed: "SageLM Accuracy", "SageLM Agreement".
    """

    def rows(self, models: Mapping[str, Results]) -> list[list[Cell]]:
        """Two rows a model."""
        return [
            [f"{name} {measure.capitalize()}", *(_figure(results, (*where, measure)) for _, where in self.columns)]
            for name, results in models.items()
            for measure in ("accuracy", "agreement")
        ]

    def wrong_name(self, name: str) -> str:
        """A row is of one of the two measures, and its name says which."""
        if name.endswith((" Accuracy", " Agreement")):
            return ""
        return f"the name {name!r} is allowed only with ' Accuracy' or ' Agreement' behind it, one row for each"


@dataclass(frozen=True)
class AblationLayout(Layout):
    """Table 7: models are named by what they were trained with, "CoT + GRPO"."""

    def headings(self) -> list[Column]:
        """Marks instead of names."""
        return [Column("CoT"), Column("GRPO"), *(column for column, _ in self.columns)]

    def rows(self, models: Mapping[str, Results]) -> list[list[Cell]]:
        """One row a model, its name turned into marks."""
        return [[*marks(str(name)), *cells] for name, *cells in super().rows(models)]

    def published_name(self, name: str) -> list[Cell]:
        """Marks, which leave no place for "(paper)": the rule below the rows tells them from ours."""
        return marks(name)

    def wrong_name(self, name: str) -> str:
        """A name that gives no marks would be lost."""
        if _parts(name) <= {"cot", "grpo"} or _parts(name) == {"neither"}:
            return ""
        return f"the name {name!r} gives no marks; allowed: 'CoT', 'GRPO', 'CoT + GRPO' or 'neither'"


def marks(name: str) -> list[Cell]:
    """The check marks of Table 7 for a name such as "CoT + GRPO"."""
    return ["✓" if part in _parts(name) else " " for part in ("cot", "grpo")]


def _parts(name: str) -> set[str]:
    return {part.strip().casefold() for part in name.split("+")}


LANGUAGES = {"en": "English", "fr": "French", "ja": "Japanese", "zh": "Chinese"}
_SOURCES = {"open": ("open", "open-source", "opensource"), "commercial": ("commercial", "comm", "comm.")}


@dataclass(frozen=True)
class LanguageLayout(Layout):
    """Table 14: one model, one row a language, from a report broken down by language with sources."""

    def rows(self, models: Mapping[str, Results]) -> list[list[Cell]]:
        """One row a language; with several models their names stand before it."""
        rows: list[list[Cell]] = []
        for name, results in models.items():
            by_language = results.get("detection", {}).get("by", {}).get("language", {})
            for code in sorted(by_language, key=lambda code: list(LANGUAGES).index(code) if code in LANGUAGES else 99):
                group = by_language[code]
                sources = {str(source).casefold(): figure for source, figure in group.get("sources", {}).items()}
                cells: list[Cell] = [LANGUAGES.get(code, code) if len(models) == 1 else f"{name} {code}"]
                cells.append(_figure({"group": group}, ("group", "accuracy_real")))
                for names in _SOURCES.values():
                    source = next((known for known in names if known in sources), "")
                    cells.append(_figure({"sources": sources}, ("sources", source)))
                rows.append([*cells, _figure({"group": group}, ("group", "accuracy"))])
        return rows


_PERCENT = 100.0
_TASKS = {
    "I. Quality Assessment": "assessment",
    "II. Quality Comparison": "comparison",
    "III. Suggestion": "suggestion",
}
_DIMENSIONS = {
    "OVR": "overall quality",
    "INT": "intelligibility",
    "DST": "distortion",
    "DYN": "dynamic range",
    "EMO": "emotional impact",
    "EXP": "artistic expression",
    "SUBJ": "subjective experience",
}
_ACOUSTIC = ("emotion", "gender", "character", "implicit_emotion", "mixed")
_SPLITS = tuple(f"{name}_{kind}" for name in _ACOUSTIC[:3] for kind in ("tts", "qa"))


def _lscore(title: str, task: str) -> tuple[Column, Where]:
    return Column(title), ("texts", "texts", task, "lscore")


def _splits(*names: str) -> list[tuple[Column, Where]]:
    titles = {name: name.title().replace("_Tts", "_TTS").replace("_Qa", "_QA") for name in names}
    return [(Column(titles[name], _PERCENT, 2), ("pairwise", "splits", name)) for name in names]


LAYOUTS: Mapping[str, Layout] = {
    "speecheval-4": Layout(
        "SpeechEval, Table 4: assessment (SQA), comparison (SQC), improvement suggestion (SQI)",
        [
            (Column(f"{title} {measure}"), ("texts", "texts", task, measure.casefold()))
            for title, task in _TASKS.items()
            for measure in ("LScore", "SBERT", "FENSE")
        ],
    ),
    "speecheval-5": Layout(
        "SpeechEval, Table 5: PCC of the assessment and ACC of the comparison, overall quality",
        [
            (Column("Assessment"), ("scores", "dimensions", "overall quality", "pcc")),
            (Column("Comparison"), ("pairwise", "aspects", "overall quality", "accuracy")),
        ],
    ),
    "speecheval-6": Layout(
        "SpeechEval, Table 6: deepfake detection",
        [
            (Column("EER(%)", _PERCENT), ("detection", "overall", "eer")),
            (Column("minDCF"), ("detection", "overall", "min_dcf")),
            (Column("ACC(%)", _PERCENT), ("detection", "overall", "accuracy")),
        ],
    ),
    "speecheval-7": AblationLayout(
        "SpeechEval, Table 7: ablation (LScore of three tasks, EER in per cent)",
        [
            _lscore("SQA", "assessment"),
            _lscore("SQC", "comparison"),
            _lscore("SQI", "suggestion"),
            (Column("DSD", _PERCENT), ("detection", "overall", "eer")),
        ],
    ),
    "speecheval-13": Layout(
        "SpeechEval, Table 13: PCC by dimension and accuracy of the speech rate",
        [
            *((Column(title), ("scores", "dimensions", name, "pcc")) for title, name in _DIMENSIONS.items()),
            (Column("AVG PCC"), ("scores", "average_pcc")),
            (Column("SR ACC"), ("scores", "speech_rate_accuracy")),
        ],
    ),
    "speecheval-14": LanguageLayout(
        "SpeechEval, Table 14: detection accuracy (%) by language and source",
        [(Column(title, _PERCENT, 1), ()) for title in ("Real", "Open", "Comm.", "Overall")],
        first="Lang",
    ),
    "sagelm-semantic": TwoRowLayout(
        "SageLM, semantic aspects (%)",
        [
            (Column(name.capitalize(), _PERCENT, 2), ("pairwise", "aspects", name))
            for name in ("helpfulness", "truthfulness", "instruction_following", "honesty")
        ],
    ),
    "sagelm-acoustic": TwoRowLayout("SageLM, acoustic aspects (%)", _splits(*_ACOUSTIC)),
    "sagelm-acoustic-split": TwoRowLayout(
        "SageLM, acoustic aspects by kind of question (%)", _splits(*_SPLITS, "implicit_emotion")
    ),
    "alld-mos": Layout(
        "ALLD, MOS prediction",
        [
            (Column("LCC"), ("scores", "dimensions", "mos", "pcc")),
            (Column("SRCC"), ("scores", "dimensions", "mos", "srcc")),
            (Column("MSE"), ("scores", "dimensions", "mos", "mse")),
            (Column("BLEU", 1, 2), ("scores", "bleu")),
        ],
    ),
    "alld-ab": Layout(
        "ALLD, A/B test",
        [
            (Column("Accuracy(%)", _PERCENT, 2), ("pairwise", "overall", "accuracy")),
            (Column("scored only(%)", _PERCENT, 2), ("pairwise", "overall", "accuracy_scored")),
            (Column("coverage(%)", _PERCENT, 1), ("pairwise", "overall", "coverage")),
        ],
    ),
}


def has_figures(name: str, models: Mapping[str, Results]) -> bool:
    """Whether the reports fill any cell of a layout."""
    return any(isinstance(cell, Figure) for row in LAYOUTS[name].rows(models) for cell in row)


def paper_table(
    name: str, models: Mapping[str, Results], *, published: Mapping[str, Sequence[Row]] | None = None
) -> Table:
    """Fill one of ``LAYOUTS``.

    Args:
        name: of the layout.
        models: name in the table to its reports.
        published: name of a layout to rows of papers, which are put above, marked "(paper)"; ``PUBLISHED`` for those
            known here. A layout that has none gets its ``NOTES`` below instead.

    Raises:
        UserError: no such layout, or neither published rows nor notes for it.
    """
    if name not in LAYOUTS:
        raise UserError(f"no table {name!r}; allowed: {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    rows = layout.rows(models)
    above: list[list[Cell]] = []
    notes: Sequence[str] = ()
    if published is not None:
        given = published.get(name, ())
        if not given and name not in NOTES:
            raise UserError(f"table {name!r} has no published figures here; there are some for {', '.join(published)}")
        above = layout.published_rows(given)
        notes = () if given else NOTES[name]
    rules = frozenset({len(above)}) if above and rows else frozenset()
    return Table(layout.headings(), [*above, *rows], layout.title, notes, rules)
