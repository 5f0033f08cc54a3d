"""Entries of ``dataset_info.json``: which file, which columns, which judge."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.judges.spec import FORMATTINGS, JudgeSpec
from earwitness.judges.text import listed, refuse_unknown

if TYPE_CHECKING:
    from earwitness.data.converted import Converted

HOST_FORMATTINGS = ("alpaca", "sharegpt", "openai")
"""LLaMA-Factory's own formats, whose prompts are rendered already."""

_ALPACA_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output"}
_MESSAGES_COLUMNS = {"messages": "conversations"}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
ENTRY_KEYS = (
    *(
        "file_name",
        "formatting",
        "columns",
        "judge",
        "converter",
        "tags",
        "ranking",
        "subset",
        "split",
        "folder",
        "num_samples",
    ),
    *("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"),
)
"""Every key of an entry: the host's, ``judge`` and ``converter``."""


@dataclass(frozen=True)
class Entry:
    """One entry of ``dataset_info.json``, validated.

    Attributes:
        name: its key in the file.
        file_name: as it stands, relative to the folder of ``dataset_info.json``; None for sets on a hub.
        formatting: "speech_pair", "speech_clip", the name of a converter, or one of the host's.
        columns: what the judge reads, to the column that holds it; for ``scores`` also to one column an aspect.
        declared: the keys of ``columns`` that the entry names itself; their column must be in every row.
        judge: its judge; None for host formats without a ``judge`` block, and where each task of a format has one.
        tags: how the host's message formats name roles.
        converted: how rows of a converter's format are read; None for other formattings.
        ranking: whether rows are preferences, a chosen and a rejected text.
    """

    name: str
    file_name: str | None
    formatting: str
    columns: Mapping[str, Any]
    declared: frozenset[str]
    judge: JudgeSpec | None
    tags: Mapping[str, str] = field(default_factory=dict)
    converted: Converted | None = None
    ranking: bool = False

    @classmethod
    def from_info(cls, name: str, info: Any, folder: str | os.PathLike[str] = "data") -> Entry:
        """Validate one entry as it stands in the file.

        Args:
            name: its key.
            info: its value.
            folder: that of ``dataset_info.json``, where ``converter.audio_out`` starts.

        Raises:
            UserError: a key or value that is not allowed; names it and lists what is.
        """
        where = f"dataset_info.json, entry {name!r}"
        if not isinstance(info, Mapping):
            raise UserError(f"{where}: must be an object, but is {info!r}")
        formatting = info.get("formatting", "alpaca")
        if formatting not in (*FORMATTINGS, *HOST_FORMATTINGS):
            from earwitness.data.converters import CONVERTERS

            if formatting in CONVERTERS:
                return cls._of_converter(name, info, folder)
            allowed = listed((*FORMATTINGS, *HOST_FORMATTINGS, *CONVERTERS))
            raise UserError(f"{where}: unknown formatting {formatting!r}; allowed: {allowed}")
        if formatting in FORMATTINGS:
            refuse_unknown(where, info, ENTRY_KEYS)
        if "converter" in info:
            raise UserError(f"{where}: 'converter' does not go with formatting {formatting!r}, which converts nothing")
        columns = info.get("columns", {})
        if not isinstance(columns, Mapping):
            raise UserError(f"{where}: 'columns' must be an object, but is {columns!r}")
        judge = None
        if formatting in FORMATTINGS or "judge" in info:
            judge = JudgeSpec.from_entry(name, info)
        if formatting in FORMATTINGS:
            assert judge is not None
            every = _speech_columns(where, judge, columns)
        else:
            defaults = _ALPACA_COLUMNS if formatting == "alpaca" else _MESSAGES_COLUMNS
            # The host forgets its defaults as soon as an entry names any column.
            every = {key: column for key, column in (columns or defaults).items() if column is not None}
        return cls(
            name=name,
            file_name=info.get("file_name"),
            formatting=formatting,
            columns=every,
            declared=frozenset(columns),
            judge=judge,
            tags={**_TAGS, **info.get("tags", {})},
            ranking=bool(info.get("ranking", False)),
        )

    @classmethod
    def _of_converter(cls, name: str, info: Mapping[str, Any], folder: str | os.PathLike[str]) -> Entry:
        from earwitness.data.converted import declared

        refuse_unknown(f"dataset_info.json, entry {name!r}", info, ENTRY_KEYS)
        converted, options = declared(name, info, folder)
        judges = [entry.judge for entry in converted.entries.values()]
        return cls(
            name=name,
            file_name=info.get("file_name"),
            formatting=info["formatting"],
            columns=options.get("columns", {}),
            declared=frozenset(),
            judge=judges[0] if len(judges) == 1 else None,
            converted=converted,
        )

    def path(self, dataset_dir: str | os.PathLike[str]) -> Path:
        """Return the file of its rows.

        Raises:
            UserError: the rows are on a hub, or ``file_name`` is no file.
        """
        where = f"dataset_info.json, entry {self.name!r}"
        if self.file_name is None:
            raise UserError(f"{where}: has no 'file_name'; rows on a hub must be downloaded first")
        path = Path(dataset_dir, self.file_name)
        if path.is_dir():
            raise UserError(f"{where}: file_name {self.file_name!r} is a folder; name one file")
        if not path.is_file():
            raise UserError(f"{where}: file_name {self.file_name!r}: no such file {path}")
        return path


def _speech_columns(where: str, judge: JudgeSpec, columns: Mapping[str, Any]) -> dict[str, Any]:
    allowed = judge.kind.columns
    refuse_unknown(f"{where}, columns, of judge {judge.type!r}", columns, allowed)
    for key, column in columns.items():
        if key == "scores" and isinstance(column, Mapping):
            if set(column) != set(judge.aspects):
                raise UserError(
                    f"{where}, columns.scores: must give a column for each of {listed(judge.aspects)}, "
                    f"but gives {listed(column)}"
                )
        elif not isinstance(column, str) or not column:
            raise UserError(f"{where}, columns.{key}: must be the name of a column, but is {column!r}")
    return {key: columns.get(key, key) for key in allowed}


def load_entries(dataset_dir: str | os.PathLike[str] = "data") -> dict[str, Any]:
    """Read ``dataset_info.json`` of a folder, not yet validated.

    Raises:
        UserError: the file is missing, broken, or holds no object.
    """
    path = Path(dataset_dir, "dataset_info.json")
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; dataset_dir must hold a dataset_info.json") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: broken JSON: {error.msg}") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: must hold one object with an entry for each dataset")
    return entries


def load_entry(name: str, dataset_dir: str | os.PathLike[str] = "data") -> Entry:
    """Read and validate one entry.

    Raises:
        UserError: ``dataset_info.json`` cannot be read, has no such entry (lists those it has), or the entry is wrong.
    """
    return Entry.from_info(name, raw_entry(name, dataset_dir), dataset_dir)


def raw_entry(name: str, dataset_dir: str | os.PathLike[str] = "data") -> Any:
    """Read one entry as it stands, not yet validated.

    Raises:
        UserError: ``dataset_info.json`` cannot be read, or has no such entry (lists those it has).
    """
    entries = load_entries(dataset_dir)
    if name not in entries:
        path = Path(dataset_dir, "dataset_info.json")
        raise UserError(f"{path}: no dataset {name!r}; it has: {listed(sorted(entries)) or 'none'}")
    return entries[name]
