"""One table, four ways to write it: aligned text, Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earwitness.metrics.figures import Figure, to_json

Cell = str | int | Figure | None
DASH = "–"
"""What stands where there is no figure."""

_LATEX = {"\\": r"\textbackslash{}", **{mark: f"\\{mark}" for mark in "&%$#_{}"}, "~": r"\textasciitilde{}"}
_LATEX |= {"^": r"\textasciicircum{}", DASH: "--", "✓": r"$\checkmark$", "<": r"\textless{}", ">": r"\textgreater{}"}


def _markdown(cell: str) -> str:
    """The cell on one line, its backslashes doubled: one before a bar would undo the bar's own."""
    return cell.replace("\\", r"\\").replace("|", r"\|").replace("\n", " ")


REASONS = 10
"""Kinds of unscored rows that a table names; its JSON names all."""


def unscored_notes(reasons: Mapping[str, int]) -> list[str]:
    """Lines that say why rows are unscored, the commonest reasons first; rare ones are summed, none is left out."""
    counts = sorted(reasons.items(), key=lambda item: -item[1])
    notes = [f"unscored: {count} x {reason}" for reason, count in counts[:REASONS]]
    if rest := counts[REASONS:]:
        notes.append(f"unscored: {sum(count for _, count in rest)} x {len(rest)} other reasons; --json names them")
    return notes


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        scale: figures are multiplied by it before they are written (100 for per cent).
        digits: decimals of figures.
        interval: whether the interval stands behind the figure.
        left: whether cells are flush left, as texts are; the first column always is.
    """

    title: str
    scale: float = 1.0
    digits: int = 3
    interval: bool = False
    left: bool = False

    def write(self, cell: Cell) -> str:
        """The cell as text; a dash where there is none or it is undefined."""
        if cell is None or (isinstance(cell, Figure) and cell.value is None):
            return DASH
        if not isinstance(cell, Figure):
            return str(cell)
        assert cell.value is not None
        text = f"{cell.value * self.scale:.{self.digits}f}"
        if self.interval and cell.ci is not None:
            low, high = (f"{bound * self.scale:.{self.digits}f}" for bound in cell.ci)
            text += f" [{low}, {high}]"
        return text


@dataclass(frozen=True)
class Table:
    """A table of named rows.

    Attributes:
        columns: every column, that of the row names first.
        rows: as many cells as columns each; a ``Figure`` is written by its column, anything else as it is.
        title: above the table; empty for none.
        notes: lines below it.
        rules: indices of rows above which a line is drawn.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    rules: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns: {row}")

    @property
    def cells(self) -> list[list[str]]:
        """Every cell as text, without the headings."""
        return [[column.write(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    @property
    def _left(self) -> list[bool]:
        return [at == 0 or column.left for at, column in enumerate(self.columns)]

    def text(self) -> str:
        """Columns aligned with spaces: names to the left, figures to the right."""
        lines = [[column.title for column in self.columns], *self.cells]
        left = self._left
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]

        def aligned(line: Sequence[str]) -> str:
            return "  ".join(
                cell.ljust(width) if flush else cell.rjust(width)
                for cell, width, flush in zip(line, widths, left, strict=True)
            ).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        written = [aligned(lines[0]), rule]
        for at, line in enumerate(lines[1:]):
            written += [rule] * (at in self.rules) + [aligned(line)]
        return "\n".join([*([self.title] if self.title else []), *written, *self.notes])

    def markdown(self) -> str:
        """A GitHub-flavoured table."""

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(_markdown(cell) for cell in cells) + " |"

        marks = ["---" if flush else "---:" for flush in self._left]
        body = [line([column.title for column in self.columns]), line(marks), *map(line, self.cells)]
        title = [f"**{self.title}**", ""] if self.title else []
        notes = ["", *self.notes] if self.notes else []
        return "\n".join([*title, *body, *notes])

    def latex(self) -> str:
        """A ``tabular`` of the booktabs package."""

        def line(cells: Sequence[str]) -> str:
            return " & ".join("".join(_LATEX.get(mark, mark) for mark in cell) for cell in cells) + r" \\"

        written = [rf"\begin{{tabular}}{{{''.join('l' if flush else 'r' for flush in self._left)}}}", r"\toprule"]
        written += [line([column.title for column in self.columns]), r"\midrule"]
        for at, cells in enumerate(self.cells):
            written += [r"\midrule"] * (at in self.rules) + [line(cells)]
        written += [r"\bottomrule", r"\end{tabular}"]
        comments = [f"% {text}" for text in (self.title, *self.notes) if text]
        return "\n".join([*comments, *written])

    def to_json(self) -> dict[str, Any]:
        """Title, notes, and one object a row by column title; figures with all they carry."""
        titles = [column.title for column in self.columns]
        rows = [dict(zip(titles, to_json(list(row)), strict=True)) for row in self.rows]
        return {"title": self.title, "columns": titles, "rows": rows, "notes": list(self.notes)}

    def json(self) -> str:
        """``to_json`` as a document."""
        return json.dumps(self.to_json(), ensure_ascii=False, indent=2, allow_nan=False)


WRITERS: Mapping[str, Callable[[Table], str]] = {
    "text": Table.text,
    "markdown": Table.markdown,
    "latex": Table.latex,
    "json": Table.json,
}
