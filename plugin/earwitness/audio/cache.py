"""Two caches of arrays computed from clips: recent ones in memory, all of them on disk.

Both are bounded, and neither changes a number: what is found is what would be computed.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import xxhash

from earwitness.errors import UserError

MEMORY_MB = 128
"""Default of ``EARWITNESS_AUDIO_CACHE_MB``, a process: about 500 clips of 5 s at 128 mel bands."""
DISK_MB = 20_000
"""Default of ``EARWITNESS_CACHE_MB``, for all processes that share ``EARWITNESS_CACHE_DIR``."""
ABANDONED_SECONDS = 3600
"""A file that has been written to for longer than this is one of a process that was killed."""
_UNFINISHED = ".part"

Value = TypeVar("Value")


class MemoryCache(Generic[Value]):
    """The most recently used values, up to ``max_bytes`` in all."""

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._size_of = size_of
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        """Remember a value, unless it is larger than the whole cache."""
        if self._size_of(value) > self.max_bytes:
            return
        with self._lock:
            if key in self._values:
                self.bytes -= self._size_of(self._values.pop(key))
            self._values[key] = value
            self.bytes += self._size_of(value)
            while self.bytes > self.max_bytes:
                self.bytes -= self._size_of(self._values.popitem(last=False)[1])


class ArrayStore:
    """Float32 matrices in files named by what they were computed from, shared by any number of processes.

    A file appears whole or not at all (written aside, then renamed) and carries a checksum that every read verifies; a
    damaged one is removed and counts as absent, so nothing is synced to disk. Beyond ``max_bytes`` the least recently
    used files go. A process looks at the size of the folder when it has written 1/64 of that, so P processes may
    exceed it by P/64. A folder that cannot be written to is warned of once; reading goes on.
    """

    _HEADER = struct.Struct("<8sQqII")  # magic and version, checksum of what follows, samples, rows, columns
    _MAGIC = b"earwit1\n"

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._written = max_bytes  # the first write looks at the folder
        self._writable = True

    def get(self, key: str) -> tuple[np.ndarray, int] | None:
        """Return the matrix and the number stored with it, or None."""
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:
                content = bytearray(os.fstat(file.fileno()).st_size)
                file.readinto(content)
        except OSError:
            return None
        if len(content) >= self._HEADER.size:
            magic, checksum, samples, rows, columns = self._HEADER.unpack_from(content)
            if magic == self._MAGIC and checksum == xxhash.xxh3_64_intdigest(memoryview(content)[16:]):
                with contextlib.suppress(OSError):
                    os.utime(path)
                return np.frombuffer(content, np.float32, offset=self._HEADER.size).reshape(rows, columns), samples
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, matrix: np.ndarray, samples: int) -> None:
        """Store a float32 matrix of shape (rows, columns) and a number beside it."""
        if not self._writable:
            return
        content = bytearray(self._HEADER.size + matrix.nbytes)
        content[self._HEADER.size :] = np.ascontiguousarray(matrix, np.float32).data.cast("B")
        self._HEADER.pack_into(content, 0, self._MAGIC, 0, samples, *matrix.shape)
        checksum = xxhash.xxh3_64_intdigest(memoryview(content)[16:])
        self._HEADER.pack_into(content, 0, self._MAGIC, checksum, samples, *matrix.shape)
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb", buffering=0) as file:
                    file.write(content)
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._written += len(content)
            if self._written > self.max_bytes // 64:
                self._evict()
                self._written = 0
        except OSError as error:
            self._writable = False
            warnings.warn(f"{self.folder}: this cache cannot be written: {error.strerror}", stacklevel=2)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]

    def _evict(self) -> None:
        files = []
        abandoned = time.time_ns() - ABANDONED_SECONDS * 10**9
        for shard in os.scandir(self.folder):
            if shard.is_dir():
                for file in os.scandir(shard.path):
                    with contextlib.suppress(FileNotFoundError):  # another process evicts too
                        status = file.stat()
                        if file.name.endswith(_UNFINISHED) and status.st_mtime_ns > abandoned:
                            continue  # another process is writing it
                        files.append((status.st_mtime_ns, status.st_size, file.path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.max_bytes:
                return
            Path(path).unlink(missing_ok=True)
            total -= size


@lru_cache(maxsize=1)
def memory_cache() -> MemoryCache[tuple[np.ndarray, int]]:
    """Return this process's cache of (matrix, samples), bounded by ``EARWITNESS_AUDIO_CACHE_MB`` (0: none)."""
    return MemoryCache(_megabytes("EARWITNESS_AUDIO_CACHE_MB", MEMORY_MB), lambda value: value[0].nbytes)


@lru_cache(maxsize=1)
def disk_store() -> ArrayStore | None:
    """Return the store under ``EARWITNESS_CACHE_DIR`` bounded by ``EARWITNESS_CACHE_MB``, or None where it is unset."""
    folder, max_bytes = os.environ.get("EARWITNESS_CACHE_DIR"), _megabytes("EARWITNESS_CACHE_MB", DISK_MB)
    return ArrayStore(Path(folder).expanduser() / "mel", max_bytes) if folder and max_bytes else None


def _megabytes(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise UserError(f"{variable} is {text!r}; must be a whole number of megabytes, 0 or more")
    return int(text) * 2**20
