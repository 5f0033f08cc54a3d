"""Preferences: rows of ``"ranking": true`` entries, two texts about the same clips, for training alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from earwitness.data.entries import Entry
from earwitness.data.example import cell
from earwitness.data.host_rows import host_question
from earwitness.data.records import resolve_audio
from earwitness.errors import RowError
from earwitness.files import BadRows, numbered_rows


@dataclass(frozen=True)
class Preference:
    """One row: of two texts about its clips, the one that is preferred and the other.

    Attributes:
        row: place in the file as ``files.numbered_rows`` counts, from 1.
        prompt: the user message with one ``<audio>`` for each clip.
        audios: resolved paths.
        chosen, rejected: what a model is to answer, and what it is not to.
    """

    row: int
    prompt: str
    audios: tuple[str, ...]
    chosen: str
    rejected: str


def iter_preferences(
    entry: Entry, dataset_dir: str | os.PathLike[str], media_dir: str | os.PathLike[str] | None, bad: BadRows
) -> Iterator[Preference]:
    """Yield the rows of an entry with ``"ranking": true``; any number of clips, any prompt.

    Raises:
        UserError: the file cannot be read.
        RowError: a column is missing or holds no text, placeholders and clips differ; names file and row.
    """
    path = entry.path(dataset_dir)
    folder = dataset_dir if media_dir is None else media_dir
    for number, row in numbered_rows(path, bad):
        try:
            prompt, audios, _ = host_question(row, entry)
            chosen, rejected = (_text(row, entry, key) for key in ("chosen", "rejected"))
        except RowError as error:
            bad.add(error.at(path, number))
            continue
        yield Preference(number, prompt, tuple(resolve_audio(audio, folder) for audio in audios), chosen, rejected)


def _text(row: Mapping[str, Any], entry: Entry, key: str) -> str:
    """The text itself or, in the host's message formats, that of one message."""
    column = entry.columns.get(key)
    if column is None:
        raise RowError(f"the entry's columns name no {key!r}; preferences need chosen and rejected")
    value = cell(row, column)
    if isinstance(value, Mapping):
        value = value.get(entry.tags["content_tag"])
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"column {column!r} ({key}) must hold text, but holds {value!r}", value)
    return value
