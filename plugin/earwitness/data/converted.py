"""Datasets whose ``formatting`` is the name of a converter: rows of a format in the wild, read as they stand.

The entry's ``converter`` block says what the file does not (``converters.Options``, and ``audio_out``, the folder for
clips that are inside the rows). A row is converted, and then read as a row of ``speech_pair`` or ``speech_clip`` by the
judge that fits its task; a ``judge`` block without ``type`` changes the others' fields for each of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.data.converters import CLIPS, CONVERTERS, Converter, Item, Options, to_row
from earwitness.data.converters.embedded import extract
from earwitness.data.entries import Entry
from earwitness.data.example import Example
from earwitness.data.speech_rows import speech_example
from earwitness.errors import RowError, UserError
from earwitness.judges.registry import JUDGE_TYPES
from earwitness.judges.text import listed

JUDGES: Mapping[str, str] = {
    "compare": "pairwise",
    "score": "score",
    "assess": "speecheval_assessment",
    "suggest": "speecheval_suggestion",
    "detect": "speecheval_detection",
}
"""The judge of each task, where the entry names none."""

_FITTING: Mapping[str, tuple[str, ...]] = {
    "score": ("score", "rate_clip", "alld_mos"),
    "assess": ("speecheval_assessment", "score", "rate_clip", "alld_mos"),
    "suggest": ("speecheval_suggestion",),
    "detect": ("speecheval_detection",),
}
_ENDINGS = {"lines": ".txt", "csv": ".csv"}
"""Endings by which LLaMA-Factory reads a file as its format needs it."""


@dataclass(frozen=True)
class Converted:
    """How the rows of an entry are converted; picklable.

    Attributes:
        format: the converter.
        function: row to item.
        entries: task to the entry that reads the converted row.
        audio_out: folder for embedded clips; None where they are an error.
    """

    format: Converter
    function: Callable[[Mapping[str, Any]], Item]
    entries: Mapping[str, Entry]
    audio_out: Path | None

    def example(self, row: Mapping[str, Any]) -> Example:
        """Turn one raw row into its example.

        Raises:
            RowError: the converter or the judge refuses it, its task has no judge here, or its clip is embedded and
                there is no folder for it.
        """
        item = self.function({name: _value(value) for name, value in row.items()})
        entry = self.entries.get(item["task"])
        if entry is None:
            raise RowError(
                f"is of task '{item['task']}', which the entry's judge is not asked; its tasks: "
                f"{listed(self.entries)}; split the file with 'earwitness convert', or leave judge.type out",
                item["task"],
            )
        for place, audio in enumerate(item["audios"]):
            if not isinstance(audio, str) and self.audio_out is None:
                raise RowError("its clip is inside the file; name a folder for clips: converter.audio_out")
            if self.audio_out is not None and (path := extract(audio, self.audio_out)) is not None:
                item["audios"][place] = str(path)
        return speech_example(to_row(item), entry)


def _value(value: Any) -> Any:
    """What the host's reader of CSV calls NaN is an empty cell."""
    return None if isinstance(value, float) and math.isnan(value) else value


def declared(name: str, info: Mapping[str, Any], folder: str | os.PathLike[str]) -> tuple[Converted, dict[str, Any]]:
    """Read what an entry of a converter's ``formatting`` declares.

    Args:
        name: of the entry.
        info: as it stands in the file.
        folder: of ``dataset_info.json``, where ``audio_out`` starts.

    Returns:
        How its rows are converted, and the options as declared.

    Raises:
        UserError: an option or a judge that does not go with the format, or a file that LLaMA-Factory would read
            otherwise; names what is allowed.
    """
    where = f"dataset_info.json, entry {name!r}"
    converter = CONVERTERS[info["formatting"]]
    if "columns" in info:
        raise UserError(
            f"{where}: format {converter.name!r} knows its columns; those of 'plain' go into converter.columns"
        )
    block = info.get("converter", {})
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: 'converter' must be an object, but is {block!r}")
    options = {key: value for key, value in block.items() if key != "audio_out"}
    out = block.get("audio_out")
    if not isinstance(out, str | None):
        raise UserError(f"{where}, converter.audio_out: must be a folder, but is {out!r}")
    try:
        function = converter.bind(Options.from_mapping(options))
    except UserError as error:
        raise UserError(f"{where}, converter: {error}") from None
    ending = _ENDINGS.get(converter.reading)
    file = str(info.get("file_name", ""))
    if ending and file and not file.endswith(ending):
        raise UserError(f"{where}: format {converter.name!r} is read from files that end in {ending}, not {file!r}")
    entries = _entries(where, name, info, converter)
    return Converted(converter, function, entries, None if out is None else Path(folder, out)), dict(options)


def _entries(where: str, name: str, info: Mapping[str, Any], converter: Converter) -> dict[str, Entry]:
    block = info.get("judge", {})
    if not isinstance(block, Mapping):
        raise UserError(f"{where}: 'judge' must be an object, but is {block!r}")
    kind = JUDGE_TYPES.get(str(block.get("type")))
    if "type" in block and kind is None:
        raise UserError(f"{where}, judge.type: unknown type {block['type']!r}; allowed: {listed(JUDGE_TYPES)}")
    entries: dict[str, Entry] = {}
    for task in converter.tasks:
        if kind is not None and not _fits(kind.name, task):
            continue
        formatting = "speech_pair" if CLIPS[task] == 2 else "speech_clip"
        judge = {**_default(converter.name, task), **block} if kind is None else block
        entries[task] = Entry.from_info(name, {"formatting": formatting, "judge": judge})
    if not entries:
        raise UserError(
            f"{where}, judge.type: {block['type']!r} does not go with format {converter.name!r}, whose rows ask for: "
            f"{listed(converter.tasks)}"
        )
    return entries


def _fits(kind: str, task: str) -> bool:
    return JUDGE_TYPES[kind].clips == 2 if CLIPS[task] == 2 else kind in _FITTING[task]


def _default(format: str, task: str) -> dict[str, Any]:
    if format == "sagelm":
        return {"type": "pairwise", "template": "sagelm/pairwise"}
    if task == "compare" and format in ("speecheval", "ms_swift"):
        return {"type": "speecheval_comparison"}
    return {"type": JUDGES[task]}
