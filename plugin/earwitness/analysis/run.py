"""Rate many clips: what was named on the command line to rows, in parallel and in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from earwitness.analysis.ratings import Engine
from earwitness.errors import UserError
from earwitness.files import ROW_FORMATS, numbered_rows

AUDIO_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".webm")
"""What is taken from folders; a file that is named itself may end as it likes."""
CLIP_COLUMNS = ("audio", "audio_a", "audio_b")
ENGINES = ("signal", "nisqa")


@dataclass(frozen=True)
class Source:
    """One clip: what it is called in the output (the manifest's own path), where it lies, and the manifest's id."""

    audio: str
    path: Path
    id: str | None = None


@dataclass(frozen=True)
class Rated:
    """One clip: its row, or why there is none."""

    source: Source
    row: dict[str, Any] | None
    error: str | None = None


def find_clips(names: Sequence[str], media_dir: str | None = None) -> list[Source]:
    """The clips of files, folders (every audio file below) and manifests, in order, each once.

    Args:
        names: an audio file, a folder, or a manifest (one of ``files.ROW_FORMATS``) with a column ``audio``, or
            ``audio_a`` and ``audio_b``, and optionally ``id`` (for ``audio``).
        media_dir: where relative paths of manifests start; the folder of the manifest by default.

    Raises:
        UserError: a name that is nothing, a folder without audio, a manifest without a clip.
    """
    found: dict[str, Source] = {}
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_ENDINGS and file.is_file())
            if not files:
                raise UserError(f"{name}: holds no audio file ({', '.join(AUDIO_ENDINGS)})")
            sources: Iterable[Source] = (Source(str(file), file) for file in files)
        elif path.suffix.lower() in ROW_FORMATS:
            sources = _of_manifest(path, media_dir)
        else:
            sources = (Source(name, path),)
        for source in sources:
            found.setdefault(str(source.path), source)
    return list(found.values())


def _of_manifest(path: Path, media_dir: str | None) -> Iterator[Source]:
    folder = path.parent if media_dir is None else Path(media_dir)
    for number, row in numbered_rows(path):
        columns = [column for column in CLIP_COLUMNS if row.get(column)]
        if not columns:
            raise UserError(
                f"{path}, row {number}: no clip; allowed: a column {', '.join(CLIP_COLUMNS)}; "
                f"its columns: {', '.join(map(str, row))}"
            )
        for column in columns:
            audio = row[column]
            if not isinstance(audio, str):
                raise UserError(f"{path}, row {number}: column '{column}' must hold the path of a clip")
            id = row.get("id") if column == "audio" else None
            yield Source(audio, folder / Path(audio).expanduser(), None if id is None else str(id))


def rate_clips(
    sources: Sequence[Source], engine: str = "signal", weights: str | None = None, jobs: int = 1
) -> Iterator[Rated]:
    """Rate every clip, in order, each in one of ``jobs`` processes; the result does not depend on their number.

    Raises:
        UserError: the engine cannot be had.
    """
    if jobs == 1 or len(sources) == 1:
        made = make_engine(engine, weights)
        yield from (rate_clip(source, made) for source in sources)
        return
    make_engine(engine, weights)  # what is missing is said once, and here
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _start, (engine, weights)) as pool:
        yield from pool.map(_rate, sources, chunksize=max(1, min(16, len(sources) // (4 * jobs))))


def make_engine(name: str, weights: str | None = None) -> Engine:
    """An engine of ``ENGINES``.

    Raises:
        UserError: there is no such engine, or it lacks a package or its weights.
    """
    if name == "signal":
        from earwitness.analysis.signal import SignalEngine

        return SignalEngine()
    if name == "nisqa":
        from earwitness.analysis.nisqa import NisqaEngine

        return NisqaEngine(weights)
    raise UserError(f"unknown engine '{name}'; allowed: {', '.join(ENGINES)}")


def rate_clip(source: Source, engine: Engine) -> Rated:
    """Read and rate one clip; a clip that cannot be read or rated is reported, not raised."""
    from earwitness.audio.reading import SAMPLE_RATE, read_native

    try:
        samples, rate = read_native(source.path, SAMPLE_RATE)
        analysis = engine.analyse(samples, rate)
    except UserError as error:
        message = str(error)
        return Rated(source, None, message if str(source.path) in message else f"{source.path}: {message}")
    named = {} if source.id is None else {"id": source.id}
    return Rated(source, {**named, "audio": source.audio, "engine": engine.name, **analysis.to_json()})


_ENGINE: Engine | None = None


def _start(engine: str, weights: str | None) -> None:
    global _ENGINE
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _ENGINE = make_engine(engine, weights)


def _rate(source: Source) -> Rated:
    assert _ENGINE is not None
    return rate_clip(source, _ENGINE)
