"""The file formats that rows come in: each reader yields ``(number, row or error)`` from a bounded buffer."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from earwitness.errors import RowError, UserError, shorten

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row | RowError]]
Reading = Literal["rows", "csv", "lines"]

_CHUNK = 1 << 20  # characters of a JSON list read at a time; a Parquet batch holds about eight times as many bytes
_CUT_SHORT = 32  # a JSON error this close to the end of the buffer may only mean that the buffer ends here


def _open_text(path: Path) -> BinaryIO:
    """Open a file that begins like UTF-8 text, behind its byte order mark."""
    file = path.open("rb")
    head = file.read(256)
    name = None
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        name = "UTF-32"
    elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
        name = "UTF-16"
    elif b"\x00" in head:  # ASCII in UTF-16 has a zero in every second byte; little endian has it in the odd places
        name = "UTF-16LE" if head[1::2].count(0) >= head[::2].count(0) else "UTF-16BE"
    if name:
        file.close()
        raise UserError(f"{path}: looks like {name}, but must be UTF-8; convert it: {_iconv(path, name)}")
    file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
    return file


def _iconv(path: Path, name: str) -> str:
    return f"iconv -f {name} -t UTF-8 {path.name} > utf8-{path.name}"


def _decode(line: bytes, path: Path) -> str | RowError:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = f"0x{line[error.start]:02x}"
        excerpt = line[max(0, error.start - 12) : error.start + 12]
        try:
            value = excerpt.decode("cp1252").strip()
        except UnicodeDecodeError:
            return RowError(f"byte {byte} is not UTF-8; save the file as UTF-8", value=excerpt)
        return RowError(
            f"byte {byte} is not UTF-8; as Windows-1252 it would read {value!r}; convert the file: "
            f"{_iconv(path, 'CP1252')}",
            value=value,
        )


class _Lines:
    """The decoded lines of a file; goes on after a line that raised. ``number`` is the line last read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self.number += 1
        text = _decode(line, self._path)
        if isinstance(text, RowError):
            raise text
        return text


def _read_lines(path: Path) -> Numbered:
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            text = _decode(line, path)
            if isinstance(text, RowError):
                yield number, text
            elif text.strip():
                yield number, {"text": text.rstrip("\r\n")}


def _read_jsonl(path: Path) -> Numbered:
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            text = _decode(line, path)
            if isinstance(text, RowError):
                yield number, text
            elif text.strip():
                try:
                    row = json.loads(text.rstrip())
                except (ValueError, RecursionError) as error:  # also numbers and nesting beyond Python's limits
                    where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    excerpt = shorten(text)
                    yield number, RowError(f"broken JSON{where}: {what}: {excerpt}", excerpt)
                else:
                    yield number, _object(row, text)


def _read_json(path: Path) -> Numbered:
    """A JSON list, decoded object by object from a sliding buffer; or JSON lines under the ending ``.json``."""
    with _open_text(path) as file:
        first = file.read(4096).lstrip()[:1].decode("latin-1")
    if first == "{":
        yield from _read_jsonl(path)
        return
    if first != "[":
        found = f"begins with {first!r}" if first else "is empty"
        raise UserError(f"{path}: must hold a JSON list of rows or JSON lines, but {found}")
    yield from _JsonList(path).rows()


class _JsonList:
    """A JSON list as a sliding buffer: ``_place`` is the next unread character, ``_line`` the line of the buffer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._place = 0
        self._line = 1

    def rows(self) -> Numbered:
        number = 0
        with self._path.open(encoding="utf-8-sig") as self._file:
            self._next()
            self._place += 1  # the opening bracket
            mark = "]" if self._next() == "]" else ","
            self._place += mark == "]"
            while mark == ",":
                self._next()
                number += 1
                yield number, _object(*self._decode(number))
                mark = self._next()
                if mark not in (",", "]"):
                    raise self._broken("expected ',' or ']' after a row")
                self._place += 1
            if self._next():
                raise self._broken("text after the end of the list")

    def _next(self) -> str:
        """Skip white space; the next character, empty at the end of the file."""
        while True:
            self._place = _SPACE.match(self._buffer, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if not self._fill(_CHUNK):
                return ""

    def _fill(self, size: int) -> bool:
        """Drop what is read and read ``size`` more characters; False at the end of the file."""
        self._line += self._buffer.count("\n", 0, self._place)
        try:
            more = self._file.read(size)
        except UnicodeDecodeError:
            raise _undecodable(self._path) from None
        self._buffer = self._buffer[self._place :] + more
        self._place = 0
        return more != ""

    def _decode(self, number: int) -> tuple[Any, str]:
        """Return the next row, and its text."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
            except json.JSONDecodeError as error:
                near_end = error.pos > len(self._buffer) - _CUT_SHORT or error.msg.startswith("Unterminated string")
                # Reading twice as much each time keeps the work linear in the size of the largest row.
                if near_end and self._fill(max(_CHUNK, len(self._buffer) - self._place)):
                    continue
                raise self._broken(f"row {number}: {error.msg}", error.pos) from None
            except (ValueError, RecursionError) as error:  # numbers and nesting beyond Python's limits
                raise self._broken(f"row {number}: {error}") from None
            text, self._place = self._buffer[self._place : end], end
            return value, text

    def _broken(self, message: str, place: int | None = None) -> UserError:
        line = self._line + self._buffer.count("\n", 0, self._place if place is None else place)
        return UserError(f"{self._path}: broken JSON at line {line}: {message}")


_SPACE = re.compile(r"[ \t\n\r]*")


def _undecodable(path: Path) -> UserError:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = _decode(line, path)
            if isinstance(text, RowError):
                return UserError(f"{path}, line {number}: {text.reason}")
    return UserError(f"{path}: not UTF-8; save the file as UTF-8")


def _read_csv(path: Path) -> Numbered:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with _open_text(path) as file:
        lines = _Lines(path, file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            header = next(reader, None)
        except (csv.Error, RowError) as error:
            raise UserError(f"{path}: broken CSV header: {error}") from None
        if not header:
            raise UserError(f"{path}: is empty, but must begin with a line of column names")
        if len(set(header)) < len(header):
            twice = sorted({name for name in header if header.count(name) > 1})
            raise UserError(f"{path}: the header names a column twice: {', '.join(map(repr, twice))}")
        number = 0
        while True:
            line = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except RowError as error:
                number += 1
                yield number, error
                continue
            except csv.Error as error:
                number += 1
                where = f"line {line}" if line == lines.number else f"lines {line} to {lines.number}"
                yield number, RowError(f"broken CSV in {where}: {error}; is a quote left open?")
                continue
            if not cells:
                continue
            number += 1
            if len(cells) == len(header):
                yield number, dict(zip(header, cells, strict=True))
            else:
                cut = shorten(delimiter.join(cells))
                yield (
                    number,
                    RowError(
                        f"has {len(cells)} columns, but the header has {len(header)}: {cut}; quote cells that hold "
                        f"{'a tab' if delimiter != ',' else 'a comma'}",
                        value=cut,
                    ),
                )


def _read_parquet(path: Path) -> Numbered:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        meta = file.metadata
        size = sum(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
        # Rows may hold whole audio files: bound a batch by its bytes, not by its rows alone.
        batch_size = max(1, min(1024, 8 * _CHUNK * max(1, meta.num_rows) // max(1, size)))
        number = 0
        for batch in file.iter_batches(batch_size=batch_size):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}") from None


def _object(row: Any, text: str) -> Row | RowError:
    """Return a row of JSON whose text is ``text``, or what is wrong with it."""
    if not isinstance(row, dict):
        return RowError(f"must be an object, but is {_kind(row)}: {shorten(row)}", value=row)
    if _HALF.search(text):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start].encode("unicode_escape").decode()
            return RowError(
                f"holds {half}, half of a character that takes two such escapes, as texts that were cut do; "
                "write the other half, or remove it",
                half,
            )
    return row


_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")


READERS: dict[str, Callable[[Path], Numbered]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_lines,
}


def reader_for(path: Path, reading: Reading) -> Callable[[Path], Numbered]:
    """The reader of a file by its ending, unless ``reading`` says otherwise (see ``files.numbered_rows``)."""
    ending = path.suffix.lower()
    if reading == "lines":
        return _read_lines
    if reading == "csv" and (ending == ".txt" or ending not in READERS):
        return _read_csv
    if ending not in READERS:
        raise UserError(f"{path}: cannot read rows from '{path.suffix}'; allowed endings: {', '.join(READERS)}")
    return READERS[ending]
