"""What a user means by DATASET: an entry of ``dataset_info.json``, or a file that needs no entry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from earwitness.data.packed import Packed
from earwitness.data.records import Record, iter_records
from earwitness.errors import UserError
from earwitness.files import ROW_FORMATS, BadRows, read_rows

_ALPACA_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "audios": "audios"}
_OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def load_dataset(
    dataset: str,
    *,
    dataset_dir: str | os.PathLike[str] = "data",
    media_dir: str | os.PathLike[str] | None = None,
    judge: str | None = None,
    limit: int | None = None,
    bad: BadRows | None = None,
) -> Sequence[Record]:
    """Read the records of a dataset, packed: there may be millions.

    Args:
        dataset: a name in ``dataset_info.json``, or the path of a file: SageLM's JSON (``instruction, output,
            audios``), messages with audios (``messages, audios``), pairs (``audio_a, audio_b`` and, where labelled,
            ``verdict`` or ``winner``) or clips (``audio``).
        dataset_dir: the folder of ``dataset_info.json``.
        media_dir: what relative clip paths start from; ``dataset_dir``, or the file's own folder, by default.
        judge: type of judge for a file; ``pairwise`` for pairs and ``score`` for clips by default.
        limit: read no more than this many records.
        bad: takes bad rows; without it the first one is raised.

    Raises:
        UserError: neither an entry nor a file, or a file whose columns are of no known form.
        RowError: a row is wrong; names file, row and value.
    """
    path = Path(dataset)
    if not path.is_file():
        if path.suffix in ROW_FORMATS or os.sep in dataset:
            raise UserError(f"{dataset}: no such file")
        if judge is not None:
            raise UserError(f"{dataset}: --judge is for files; the judge of an entry stands in dataset_info.json")
        return Packed(iter_records(dataset, dataset_dir, media_dir, limit, bad))
    entry = {**_entry_of(path, judge), "file_name": str(path.resolve())}
    with TemporaryDirectory() as folder:
        Path(folder, "dataset_info.json").write_text(json.dumps({path.stem: entry}), encoding="utf-8")
        return Packed(iter_records(path.stem, folder, path.parent if media_dir is None else media_dir, limit, bad))


def _entry_of(path: Path, judge: str | None) -> dict[str, Any]:
    """Return the entry that a file's first row calls for."""
    first: Mapping[str, Any] | None = next(islice(read_rows(path), 1), None)
    if first is None:
        raise UserError(f"{path}: holds no rows")
    block = {} if judge is None else {"judge": {"type": judge}}
    if "instruction" in first and "audios" in first:
        return {"columns": _ALPACA_COLUMNS, **block}
    if "messages" in first and "audios" in first:
        return {
            "formatting": "openai",
            "columns": {"messages": "messages", "audios": "audios"},
            "tags": _OPENAI_TAGS,
            **block,
        }
    if "audio_a" in first and "audio_b" in first:
        columns = {"verdict": "winner"} if "winner" in first and "verdict" not in first else {}
        return {"formatting": "speech_pair", "columns": columns, **block}
    if "audio" in first:
        return {"formatting": "speech_clip", **block}
    raise UserError(
        f"{path}: its columns ({', '.join(first)}) are of no known form; needed: instruction and audios (SageLM), "
        "messages and audios, audio_a and audio_b, or audio; for other columns declare an entry in dataset_info.json"
    )
