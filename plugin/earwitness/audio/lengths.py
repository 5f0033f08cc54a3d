"""How many samples a clip has, without decoding it where its header tells."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from earwitness.audio.decoding import Header, check_duration, read_header
from earwitness.audio.limits import Family, Overlong, fit_samples
from earwitness.audio.reading import (
    MAX_SECONDS,
    as_array,
    name_of,
    open_audio,
    path_of,
    read_native,
    resampled_length,
)

__all__ = ["checked_samples", "clip_samples", "name_of"]


def clip_samples(source: Any, sampling_rate: int) -> int:
    """Return the number of samples that ``read_audio(source, sampling_rate)`` gives, exactly.

    WAV, FLAC, AIFF, AU, CAF and W64 tell it in their header. Every other format (mp3 and Ogg give estimates or need a
    search) is decoded once; the count of a path is remembered in this process, and in ``EARWITNESS_CACHE_DIR`` where
    that is set, for as long as the file's size and modification time stay.

    Args:
        source: see `earwitness.audio.reading.read_audio`.
        sampling_rate: in Hz.

    Raises:
        UserError: the header or, where that does not tell, the decoding shows that the clip cannot be read.
    """
    name = name_of(source)
    if as_array(source, sampling_rate) is not None:
        samples, rate = read_native(source, sampling_rate)
        return resampled_length(len(samples), rate, sampling_rate, name)
    with open_audio(source) as file:
        header = read_header(file, name)
    if header is None:
        header = _decoded_length(source)
    check_duration(header.frames, header.rate, MAX_SECONDS, name)
    return resampled_length(header.frames, header.rate, sampling_rate, name)


def checked_samples(source: Any, feature_extractor: Any, family: Family, overlong: Overlong | None = None) -> int:
    """Return how many samples of a clip the model gets; see `clip_samples` and `limits.fit_samples`."""
    samples = clip_samples(source, feature_extractor.sampling_rate)
    return fit_samples(samples, feature_extractor, family, name_of(source), overlong)


def _decoded_length(source: Any) -> Header:
    path = path_of(source)
    if path is None:
        samples, rate = read_native(source, 0)
        return Header(len(samples), rate)
    status = os.stat(path)
    return _remembered_length(os.path.realpath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1_000_000)
def _remembered_length(path: str, size: int, mtime_ns: int) -> Header:
    folder = os.environ.get("EARWITNESS_CACHE_DIR")
    if not folder:
        samples, rate = read_native(path, 0)
        return Header(len(samples), rate)
    key = (path, size, mtime_ns)
    with _length_table(Path(folder)) as table:
        found = table.execute("SELECT frames, rate FROM lengths WHERE (path, size, mtime_ns) = (?, ?, ?)", key)
        row = found.fetchone()
    if row is None:
        samples, rate = read_native(path, 0)
        row = (len(samples), rate)
        with _length_table(Path(folder)) as table:
            table.execute("INSERT OR REPLACE INTO lengths VALUES (?, ?, ?, ?, ?)", (*key, *row))
    return Header(*row)


@contextlib.contextmanager
def _length_table(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the table of counted lengths; SQLite keeps several processes out of each other's way."""
    folder = folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "lengths.sqlite", timeout=60)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS lengths "
                "(path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, frames INTEGER, rate INTEGER)"
            )
            yield connection
    finally:
        connection.close()
