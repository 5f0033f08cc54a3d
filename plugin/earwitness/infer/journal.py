"""An append-only journal of finished batches, so that a run killed at any moment loses at most the batch in flight.

A batch is appended by one write and one fsync::

    <row number> <row as JSON>      one line for each row of the batch
    = <batch number> <rows> <crc32 of the lines above, 8 hex digits>

Row numbers are places in the final file. What stands after the last whole batch was torn by a crash; it is cut off when
the journal is opened again. A batch whose checksum is wrong but that others follow was damaged by something else, and
is an error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from earwitness.errors import UserError
from earwitness.files import atomic_write

_ABSENT = -1


class Journal:
    """Finished rows of one run.

    Attributes:
        batches: numbers of the batches that are safely on disk.
        done: how many rows they hold.
    """

    def __init__(self, path: str | os.PathLike[str], rows: int) -> None:
        """Open ``path``, creating it or cutting off what a crash tore.

        Args:
            path: the journal file.
            rows: how many rows the whole run has.

        Raises:
            UserError: the journal is damaged in its middle, or holds rows that the run does not have.
        """
        self.path = Path(path)
        self.batches: set[int] = set()
        self._offsets = array("q", [_ABSENT]) * rows
        self._lengths = array("q", [0]) * rows
        self.done = 0
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115  closed by close()
        self._end = self._scan()
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _scan(self) -> int:
        """Index the whole batches; return the offset at which they end."""
        end = position = checksum = 0
        places: list[tuple[int, int, int]] = []
        self._file.seek(0)
        with open(self.path, "rb") as file:
            for line in file:
                if line.startswith(b"= "):
                    number = self._commit(line, len(places), checksum)
                    if number is None:
                        break
                    for row, offset, length in places:
                        self._place(row, offset, length)
                    self.batches.add(number)
                    position += len(line)
                    end, checksum, places = position, 0, []
                    continue
                number_text, space, text = line.partition(b" ")
                if not (space and number_text.isdigit() and line.endswith(b"\n")):
                    break
                places.append((int(number_text), position + len(number_text) + 1, len(text)))
                checksum = zlib.crc32(line, checksum)
                position += len(line)
            if any(later.startswith(b"= ") for later in file):
                raise UserError(f"{self.path}: damaged after byte {end}, in its middle; start anew with --overwrite")
        return end

    @staticmethod
    def _commit(line: bytes, rows: int, checksum: int) -> int | None:
        fields = line.split()
        whole = line.endswith(b"\n") and len(fields) == 4 and fields[2:] == [b"%d" % rows, b"%08x" % checksum]
        return int(fields[1]) if whole else None

    def _place(self, row: int, offset: int, length: int) -> None:
        if row >= len(self._offsets) or self._offsets[row] != _ABSENT:
            raise UserError(f"{self.path}: row {row} is not of this run or stands twice; start anew with --overwrite")
        self._offsets[row], self._lengths[row] = offset, length
        self.done += 1

    def append(self, number: int, rows: Iterable[tuple[int, str]]) -> None:
        """Add one finished batch and wait until it is on disk.

        Args:
            number: of the batch.
            rows: pairs of the row's place in the final file and its JSON text without a newline.

        Raises:
            UserError: the disk is full; earlier batches are safe.
        """
        lines, places, position = [], [], self._end
        for row, text in rows:
            prefix, body = b"%d " % row, text.encode() + b"\n"
            places.append((row, position + len(prefix), len(body)))
            lines.append(prefix + body)
            position += len(prefix) + len(body)
        block = b"".join(lines)
        block += b"= %d %d %08x\n" % (number, len(lines), zlib.crc32(block))
        with disk_errors(self.path, self.done):
            view = memoryview(block)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        for row, offset, length in places:
            self._place(row, offset, length)
        self.batches.add(number)
        self._end += len(block)

    def merge(self, path: str | os.PathLike[str]) -> None:
        """Write every row in order to ``path``, which appears whole or not at all.

        Raises:
            UserError: the disk is full; the journal is safe.
            RuntimeError: a row is missing.
        """
        if _ABSENT in self._offsets:
            raise RuntimeError(f"{self.path}: row {self._offsets.index(_ABSENT)} was never judged")
        with disk_errors(path, self.done), atomic_write(path, "wb") as out:
            for offset, length in zip(self._offsets, self._lengths, strict=True):
                out.write(os.pread(self._file.fileno(), length, offset))

    def close(self) -> None:
        """Close the file; it stays on disk."""
        self._file.close()


@contextmanager
def disk_errors(path: str | os.PathLike[str], safe: int) -> Iterator[None]:
    """Turn a full disk or an exceeded quota into a message that says what is safe."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"{path}: {os.strerror(error.errno)}; {safe} finished rows are safe: free some space and run the same "
            "command again"
        ) from None


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a run folder for this process alone; the lock vanishes with the process, however it ends.

    Raises:
        UserError: another process holds it.
    """
    path = Path(folder) / "lock"
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another process is writing this run; wait for it, or choose another OUT"
            ) from None
        yield
