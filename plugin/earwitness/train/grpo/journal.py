"""What the policy wrote and what it was given for it: a JSONL file, and a table in the log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.errors import shorten
from earwitness.files import read_rows, write_jsonl
from earwitness.report.tables import Cell, Column, Table

FILE_NAME = "completions.jsonl"


class Journal:
    """Appends rows to ``completions.jsonl`` of the output folder; for the main process only.

    Each row holds: mode (train or eval), step, generation (number of the batch of completions), dataset, id, copy
    (place in the group), completion, tokens, truncated, rewards (name to value or null), reward (their weighted sum or
    null), unscored (why it is null), advantage.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder, FILE_NAME)

    def restart(self, generations: int, step: int) -> None:
        """Keep what a run had written up to the checkpoint that is resumed: rows after it will be written again.

        Args:
            generations: batches of completions that the checkpoint has behind it; 0 starts a new file.
            step: optimizer steps that it has behind it.
        """
        if not self.path.exists():
            return
        rows = [
            row
            for row in (read_rows(self.path) if generations else ())
            if (row["generation"] < generations if row["mode"] == "train" else row["step"] <= step)
        ]
        write_jsonl(self.path, rows)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def completion_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of the journal as a small table, one line a completion."""
    names = list(rows[0]["rewards"])
    columns = [
        Column("id"),
        *(Column(name) for name in (*names, "reward", "advantage")),
        Column("completion", left=True),
    ]
    return Table(
        columns, [_cells(row, names) for row in rows], title=f"{rows[0]['mode']}, step {rows[0]['step']}"
    ).text()


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[Cell]:
    figures = [*(row["rewards"][name] for name in names), row["reward"], row["advantage"]]
    return [
        shorten(row["id"], 24),
        *(None if figure is None else f"{figure:.3f}" for figure in figures),
        _printable(shorten(row["completion"], 60)) or "(empty)",
    ]


def _printable(text: str) -> str:
    """Replace what would move a terminal's cursor: an untrained policy writes anything."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
