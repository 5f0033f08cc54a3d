"""Finding duplicate ids in files of any size."""

from __future__ import annotations

import sqlite3

_CACHE_KILOBYTES = 16_000


class SeenIds:
    """Remembers ids and the row of each, exactly, in a temporary database on disk: about 20 MB for any number.

    A million random ids take some 4 s; a set would take 160 MB.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            f"PRAGMA cache_size = -{_CACHE_KILOBYTES}",
            "CREATE TABLE ids (id TEXT PRIMARY KEY, place INTEGER, times INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._connection.execute(statement)

    def add(self, name: str, row: int) -> int | None:
        """Remember an id; the row that had it first, None when this one is the first."""
        done = self._connection.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, 1)", (name, row))
        if done.rowcount:
            return None
        return int(self._connection.execute("SELECT place FROM ids WHERE id = ?", (name,)).fetchone()[0])

    def count(self, name: str, row: int) -> int:
        """Remember an id; how many times it has come by now, this one included."""
        if self.add(name, row) is None:
            return 1
        update = "UPDATE ids SET times = times + 1 WHERE id = ? RETURNING times"
        return int(self._connection.execute(update, (name,)).fetchone()[0])
