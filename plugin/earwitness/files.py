"""Reading rows from the files people have, and writing files that are whole or absent.

Every reader holds one row and a bounded buffer at a time, whatever the size of the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from earwitness.errors import RowError, UserError
from earwitness.row_formats import READERS, Reading, Row, reader_for

ROW_FORMATS = tuple(READERS)


class BadRows:
    """What happens to bad rows: the first one is raised or, with ``skip``, all are left out, counted and listed.

    Args:
        skip: leave bad rows out instead of raising.
        log: a JSONL file for every bad row, ``{"file", "row", "value", "reason"}``; written, when the ``with`` block
            ends without an error, only if there is a bad row.
        keep: how many of the first bad rows stay in ``first`` for the summary.
    """

    def __init__(self, skip: bool = False, log: str | os.PathLike[str] | None = None, keep: int = 20) -> None:
        self.skip = skip
        self.count = 0
        self.first: list[RowError] = []
        self._keep = keep
        self._log = log
        self._stack = ExitStack()
        self._file: IO[str] | None = None

    def add(self, error: RowError) -> None:
        if not self.skip:
            raise error
        self.count += 1
        if len(self.first) < self._keep:
            self.first.append(error)
        if self._log is not None:
            if self._file is None:
                self._file = self._stack.enter_context(atomic_write(self._log))
            entry = {"file": error.file, "row": error.row, "value": error.value, "reason": error.reason}
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def summary(self) -> str:
        """Lines for people: how many rows were left out, and the first of them."""
        if self.count == 0:
            return "no bad rows"
        lines = [f"{self.count} bad row{'s' * (self.count > 1)} skipped:", *(f"  {error}" for error in self.first)]
        if self.count > len(self.first):
            lines.append(f"  and {self.count - len(self.first)} more" + (f", see {self._log}" if self._log else ""))
        return "\n".join(lines)

    def __enter__(self) -> BadRows:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def read_rows(path: str | os.PathLike[str], bad: BadRows | None = None, reading: Reading = "rows") -> Iterator[Row]:
    """Yield the rows of a file in order; ``numbered_rows`` without the numbers."""
    return (row for _, row in numbered_rows(path, bad, reading))


def numbered_rows(
    path: str | os.PathLike[str], bad: BadRows | None = None, reading: Reading = "rows"
) -> Iterator[tuple[int, Row]]:
    """Yield ``(number, row)`` of a JSON list, JSON lines, CSV, TSV, Parquet or text file, in order.

    Args:
        path: the file. Its ending (one of ``ROW_FORMATS``) tells the format; ``.json`` may hold a list or JSON lines,
            and a row of ``.txt`` is ``{"text": line}``. A UTF-8 byte order mark and blank lines are skipped.
        bad: takes bad rows; without it the first one is raised.
        reading: "csv" reads any ending but the others as CSV with a header, "lines" every file as text lines.

    Numbers count from 1: lines in JSONL and text, as editors count them, and data rows elsewhere.

    Raises:
        UserError: the file is missing, of another format or encoding, or broken as a whole.
        RowError: a row is broken and ``bad`` does not skip; names file and row.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    bad = bad or BadRows()
    for number, row in reader_for(path, reading)(path):
        if isinstance(row, RowError):
            bad.add(row.at(path, number))
        else:
            yield number, row


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that appears under ``path`` only when the block ends without an error, whole and synced."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding = None if "b" in mode else "utf-8"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write one JSON document atomically. NaN and infinities are refused: undefined figures are ``null``."""
    with atomic_write(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=2, allow_nan=False)
        file.write("\n")


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSONL atomically, one object a line."""
    with atomic_write(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def json_value(value: Any) -> Any:
    """Return what JSON can hold of a value, such as a cell of a Parquet file.

    Numbers that are none become null, bytes their number, half a surrogate pair its escape, anything unknown its text.
    """
    if isinstance(value, Mapping):
        return {json_value(str(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return str(value).encode(errors="backslashreplace").decode()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
