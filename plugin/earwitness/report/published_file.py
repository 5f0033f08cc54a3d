"""Published rows from a user's file, for tables of the papers that were not at hand here."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import UserError, shorten
from earwitness.report.papers import LAYOUTS, Layout
from earwitness.report.published import Row


def read_published(path: str | os.PathLike[str]) -> dict[str, list[Row]]:
    """Read ``{"sagelm-semantic": [["SageLM Accuracy", 83.1, null, ...], ...], ...}``.

    Args:
        path: a JSON file. Rows are as ``paper_table`` prints them, from top to bottom: a name, then a figure or null
            for each column of the layout, in the units of the table. White space in names is made single spaces.

    Raises:
        UserError: the file is missing or no such object; an unknown layout, or one twice; a layout without rows; a row
            without a name, with the name of another or with one that its layout cannot show; a row with more or fewer
            cells than columns; or a cell that is neither a finite number nor null.
    """
    path = Path(path)
    try:
        given = json.loads(
            path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: _without_repeats(path, pairs)
        )
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a JSON file of published rows") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: broken JSON: {error.msg}") from None
    if not (isinstance(given, dict) and given):
        raise UserError(f'{path}: holds {_shown(given)}; allowed: an object of tables, {{"sagelm-semantic": [rows]}}')
    published = {}
    for table, rows in given.items():
        if table not in LAYOUTS:
            raise UserError(f"{path}: no table {table!r}; allowed: {', '.join(LAYOUTS)}")
        published[table] = _rows(f"{path}: table {table!r}", LAYOUTS[table], rows)
    return published


def _without_repeats(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ; of equal ones JSON would keep the last in silence."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{path}: holds {key!r} twice; put the rows of a table in one list")
        found[key] = value
    return found


def _rows(where: str, layout: Layout, given: Any) -> list[Row]:
    titles = [column.title for column, _ in layout.columns]
    shape = f'["name", {", ".join(titles)}]'
    if not (isinstance(given, list) and given):
        raise UserError(f"{where} holds {_shown(given)}; allowed: a list of at least one row, each {shape}")
    rows: list[Row] = []
    numbers: dict[str, int] = {}
    for number, row in enumerate(given, 1):
        place = f"{where}, row {number}"
        if not (isinstance(row, list) and row and isinstance(row[0], str) and row[0].strip()):
            raise UserError(f"{place}: {_shown(row)} is no row; allowed: {shape}")
        name, values = " ".join(row[0].split()), row[1:]
        if fault := layout.wrong_name(name):
            raise UserError(f"{place}: {fault}")
        if name in numbers:
            raise UserError(
                f"{place}: a second {name!r}; the first is row {numbers[name]}; give every row its own name"
            )
        numbers[name] = number
        place += f", {name!r}"
        if len(values) != len(titles):
            columns = f"{', '.join(titles)}; null where there is none"
            raise UserError(f"{place}: {len(values)} figures instead of {len(titles)}: {columns}")
        figures = (_figure(f"{place}, {title}", value) for title, value in zip(titles, values, strict=True))
        rows.append((name, *figures))
    return rows


def _figure(place: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond every float
        pass
    raise UserError(f"{place}: {_shown(value)} is not allowed; allowed: a finite number, or null for none")


def _shown(value: Any) -> str:
    """The value as the file spells it, in one short line."""
    return shorten(json.dumps(value, ensure_ascii=False))
