"""Rows in little memory: packed block by block, and unpacked when they are asked for."""

from __future__ import annotations

import io
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from earwitness.judges.spec import JudgeSpec

BLOCK = 32
"""Rows that are packed together: what they say alike is kept once, and any of them is had by unpacking all."""
KEPT_BLOCKS = 1024
"""Blocks that stay unpacked: files of up to 32,768 rows are as fast as a list."""

T = TypeVar("T")


class Packed(Sequence[T], Generic[T]):
    """Records or other rows, in order; a million take some 100 MB, as a list 1 to 3 GB.

    Rows are equal to those that were given, not identical; their judges are identical. Going through all rows in order
    is cheap, a row picked at random costs the unpacking of ``BLOCK``.
    """

    def __init__(self, rows: Iterable[T] = ()) -> None:
        """Take the rows, one after the other: an iterator is never held as a list.

        Args:
            rows: of picklable objects.
        """
        self._judges: list[JudgeSpec] = []
        self._places: dict[int, int] = {}
        self._blocks: list[bytes] = []
        self._last: list[T] = []
        self._unpacked: OrderedDict[int, list[T]] = OrderedDict()
        for row in rows:
            self.append(row)

    def append(self, row: T) -> None:
        """Add a row at the end."""
        self._last.append(row)
        if len(self._last) == BLOCK:
            self._blocks.append(self._pack(self._last))
            self._last = []

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._last)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        """Return a row, or a list of rows."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        block, inside = divmod(place % len(self), BLOCK)
        return self._block(block)[inside]

    def __iter__(self) -> Iterator[T]:
        for block in range(len(self._blocks)):
            yield from self._block(block)
        yield from self._last

    def _block(self, number: int) -> list[T]:
        if number == len(self._blocks):
            return self._last
        rows = self._unpacked.pop(number, None) or self._unpack(self._blocks[number])
        self._unpacked[number] = rows
        if len(self._unpacked) > KEPT_BLOCKS:
            self._unpacked.popitem(last=False)
        return rows

    def _pack(self, rows: list[T]) -> bytes:
        buffer = io.BytesIO()
        _Pickler(buffer, self._place_of).dump(rows)
        return zlib.compress(buffer.getbuffer(), 1)

    def _unpack(self, block: bytes) -> list[T]:
        rows: list[T] = _Unpickler(io.BytesIO(zlib.decompress(block)), self._judges).load()
        return rows

    def _place_of(self, judge: JudgeSpec) -> int:
        if id(judge) not in self._places:
            self._places[id(judge)] = len(self._judges)
            self._judges.append(judge)  # kept alive here, so that no other object gets its id
        return self._places[id(judge)]


class _Pickler(pickle.Pickler):
    """Writes a number for each judge."""

    def __init__(self, file: io.BytesIO, place_of: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._place_of = place_of

    def persistent_id(self, obj: Any) -> int | None:
        return self._place_of(obj) if isinstance(obj, JudgeSpec) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, judges: Sequence[JudgeSpec]) -> None:
        super().__init__(file)
        self._judges = judges

    def persistent_load(self, pid: int) -> JudgeSpec:
        return self._judges[pid]
