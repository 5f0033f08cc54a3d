"""Converters: one row of a format in the wild to one documented dict (``item.Item``).

Each is a pure function of one row, so it works on streamed data and in worker processes alike. ``CONVERTERS`` maps
the ``formatting`` names of ``dataset_info.json`` to them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from earwitness.data.converters.asvspoof import asvspoof
from earwitness.data.converters.fields import NO_OPTIONS, Options
from earwitness.data.converters.item import CLIPS, Item, Task, to_row
from earwitness.data.converters.mos import bvcc, nisqa, somos
from earwitness.data.converters.plain import check_plain, plain
from earwitness.data.converters.sagelm import sagelm
from earwitness.data.converters.speecheval import speecheval
from earwitness.data.converters.speechjudge import speechjudge
from earwitness.data.converters.swift_results import ms_swift
from earwitness.data.seen_ids import SeenIds
from earwitness.errors import RowError, UserError
from earwitness.files import BadRows, numbered_rows
from earwitness.row_formats import Reading

__all__ = [
    "CLIPS",
    "CONVERTERS",
    "Converter",
    "Item",
    "Options",
    "convert_file",
    "get_converter",
    "register_converter",
    "to_row",
]

RowFunction = Callable[..., Item]

# Names that LLaMA-Factory and our own two formattings use.
_TAKEN = ("alpaca", "sharegpt", "openai", "speech_pair", "speech_clip")
_COMMON = ("language", "source", "audio_dir", "unlabelled", "keep_tokens")


@dataclasses.dataclass(frozen=True)
class Converter:
    """One format.

    Attributes:
        name: its ``formatting`` name.
        summary: one line for documentation and help.
        function: ``(row, options) -> Item``, pure and picklable.
        tasks: what its rows ask for; ``CLIPS`` has the number of clips of each.
        reading: how its files are read, see ``files.numbered_rows``.
        takes: the options it understands besides those that all formats share.
        repeats: whether several rows may stand for the same question (several descriptions of one clip); their ids
            then get ``#2``, ``#3``, ... instead of being an error.
        check: validates options before the first row.
    """

    name: str
    summary: str
    function: RowFunction
    tasks: tuple[Task, ...]
    reading: Reading = "rows"
    takes: tuple[str, ...] = ()
    repeats: bool = False
    check: Callable[[Options], None] | None = None

    def bind(self, options: Options = NO_OPTIONS) -> Callable[[Mapping[str, Any]], Item]:
        """The row function with its options: picklable, for ``datasets.map`` and worker processes.

        Raises:
            UserError: an option that this format does not take, or that is wrong in itself.
        """
        for option in dataclasses.fields(Options):
            given = getattr(options, option.name) != getattr(NO_OPTIONS, option.name)
            if given and option.name not in (*_COMMON, *self.takes):
                allowed = ", ".join((*_COMMON, *self.takes))
                raise UserError(f"format '{self.name}' takes no option '{option.name}'; allowed: {allowed}")
        if self.check is not None:
            self.check(options)
        return partial(self.function, options=options)

    def flat(self, options: Options = NO_OPTIONS) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """As ``bind``, but to rows for the formattings ``speech_pair`` and ``speech_clip`` (see ``to_row``).

        For a data set whose ``formatting`` names this format: each raw row becomes a row that our own two formattings
        read with their default columns.
        """
        return partial(_flat, self.bind(options))


def _flat(function: Callable[[Mapping[str, Any]], Item], row: Mapping[str, Any]) -> dict[str, Any]:
    return to_row(function(row))


CONVERTERS: dict[str, Converter] = {}


def register_converter(converter: Converter) -> None:
    """Add a format.

    Raises:
        UserError: its name is taken; lists the names in use.
    """
    if converter.name in _TAKEN or converter.name in CONVERTERS:
        raise UserError(f"formatting '{converter.name}' exists already; taken: {', '.join((*_TAKEN, *CONVERTERS))}")
    CONVERTERS[converter.name] = converter


def get_converter(name: str) -> Converter:
    """The converter of that ``formatting`` name.

    Raises:
        UserError: there is none; lists the names.
    """
    if name not in CONVERTERS:
        raise UserError(f"unknown format '{name}'; allowed: {', '.join(CONVERTERS)}")
    return CONVERTERS[name]


def convert_file(
    path: str | os.PathLike[str],
    name: str,
    options: Options = NO_OPTIONS,
    bad: BadRows | None = None,
) -> Iterator[Item]:
    """Yield the items of a file, with file and row in their provenance, whatever the size of the file.

    Args:
        path: the file.
        name: its format.
        options: what the user declares.
        bad: takes bad rows and duplicate ids; without it the first one is raised.

    Raises:
        UserError: an unknown format, wrong options, or a file that cannot be read.
        RowError: a bad row, where ``bad`` does not skip.
    """
    converter = get_converter(name)
    function = converter.bind(options)
    bad = bad or BadRows()
    seen = SeenIds()
    for number, row in numbered_rows(path, bad, converter.reading):
        try:
            item = function(row)
            if converter.repeats:
                times = seen.count(item["id"], number)
                item["id"] += f"#{times}" if times > 1 else ""
            elif (first := seen.add(item["id"], number)) is not None:
                raise _twice(item, first)
        except RowError as error:
            bad.add(error.at(path, number))
            continue
        item["provenance"]["file"] = os.fspath(path)
        item["provenance"]["row"] = number
        yield item


def _twice(item: Item, first: int) -> RowError:
    if item["provenance"]["key"] is not None:
        return RowError(f"id {item['id']!r} is that of row {first} too; allowed: each id once", value=item["id"])
    return RowError(
        f"asks the same of the same clips as row {first}; remove one, or declare a column that tells them apart "
        "(id, rater, aspect)",
        value=item["id"],
    )


for _converter in (
    Converter("sagelm", "SageLM: two spoken responses, one aspect (JSON list)", sagelm, ("compare",)),
    Converter(
        "speecheval",
        "SpeechEval: four tasks in ms-swift rows (JSONL), GRPO's solution included",
        speecheval,
        ("assess", "compare", "suggest", "detect"),
        takes=("task",),
        repeats=True,
    ),
    Converter(
        "ms_swift",
        "inference results of ms-swift (JSONL): response, labels, logprobs",
        ms_swift,
        ("assess", "compare", "suggest", "detect"),
        takes=("task",),
        repeats=True,
    ),
    Converter(
        "nisqa", "NISQA corpus: mean opinion scores of five dimensions (CSV)", nisqa, ("score",), takes=("aspect",)
    ),
    Converter("somos", "SOMOS: utteranceId,mean (CSV with a header)", somos, ("score",), "csv", ("aspect",)),
    Converter("bvcc", "BVCC / VoiceMOS: ratings or means without a header", bvcc, ("score",), "lines", ("aspect",)),
    Converter(
        "speechjudge",
        "SpeechJudge-Data: pairs with votes (Parquet, JSONL)",
        speechjudge,
        ("compare",),
        takes=("aspect",),
    ),
    Converter("asvspoof", "ASVspoof 2019 and 5 protocols", asvspoof, ("detect",), "lines"),
    Converter(
        "plain",
        "any CSV, TSV, JSON, JSONL or Parquet with declared columns",
        plain,
        ("compare", "score", "assess", "suggest", "detect"),
        takes=("columns", "verdict_values", "scale", "aspect", "task"),
        check=check_plain,
    ),
):
    register_converter(_converter)
