"""Converted items to the files of a data set: JSONL rows, the entry of ``dataset_info.json``, and a manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from earwitness.data.converted import JUDGES
from earwitness.data.converters import Converter, Options, convert_file, to_row
from earwitness.data.converters.embedded import extract
from earwitness.data.converters.item import Item
from earwitness.data.pairing import PairRule, make_pairs
from earwitness.errors import RowError, UserError
from earwitness.files import BadRows, atomic_write, sha256_file, write_json

_MOST_ASPECTS = 16


@dataclass
class Written:
    """One file of rows of one task, and what its entry needs to know of them."""

    task: str
    path: Path
    rows: int = 0
    aspects: set[str | None] = field(default_factory=set)
    scale: list[float] | None = None
    file: IO[str] | None = None

    def add(self, item: Item) -> None:
        assert self.file is not None
        self.file.write(json.dumps(to_row(item), ensure_ascii=False, allow_nan=False) + "\n")
        self.rows += 1
        if len(self.aspects) <= _MOST_ASPECTS:
            self.aspects.add(item["aspect"])
        self.scale = item["scale"] or self.scale


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote.

    Attributes:
        entries: for ``dataset_info.json`` in the folder of the files, by name.
        files: rows in each file, by path.
        bad: the bad rows, skipped.
        pairing: how pairs were made, None when none were.
        manifest: the file that records all of this with hashes.
    """

    entries: dict[str, dict[str, Any]]
    files: dict[Path, int]
    bad: BadRows
    pairing: dict[str, Any] | None
    manifest: Path


def convert_to_files(
    converter: Converter,
    source: Path,
    out: Path,
    options: Options,
    *,
    skip_bad: bool = False,
    audio_out: Path | None = None,
    pairs: PairRule | None = None,
    name: str | None = None,
) -> Conversion:
    """Convert a file; every output is whole or absent.

    Args:
        converter: of the format.
        source: the file.
        out: the JSONL to write. Formats with several tasks get a file a task: ``out.compare.jsonl`` and so on. Beside
            it ``<out>.manifest.json`` and, when rows were skipped, ``<out>.bad.jsonl`` with every one of them.
        options: what the user declares.
        skip_bad: leave bad rows out instead of stopping at the first.
        audio_out: folder for clips that are embedded in the source.
        pairs: make pairs of scored clips by this rule.
        name: of the entry; the stem of the file by default.

    Raises:
        UserError: wrong options, a file that cannot be read, or no good row.
        RowError: a bad row, unless they are skipped.
    """
    if out.suffix != ".jsonl":
        raise UserError(f"{out}: must end in .jsonl")
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: is the input; name another file")
    if pairs is not None and converter.tasks != ("score",) and options.columns.get("score") is None:
        raise UserError(f"format '{converter.name}' gives no scores to make pairs of")
    pairing = None
    with BadRows(skip_bad, out.with_suffix(".bad.jsonl")) as bad:
        items: Iterable[Item] = extracted(convert_file(source, converter.name, options, bad), out.parent, audio_out)
        if pairs is not None:
            made = make_pairs(items, pairs)
            items, pairing = made.items, made.record
        several = len(converter.tasks) > 1 and not options.columns
        written, thinks = _write(items, out, several)
        if not written:
            raise UserError(f"{source}: no row could be converted" + (f"; {bad.summary()}" if bad.count else ""))
    entries = {
        _entry_name(name or out.stem, one, several): entry_of(converter.name, one, options, thinks) for one in written
    }
    manifest = out.with_suffix(".manifest.json")
    files = {one.path: one.rows for one in written}
    write_json(
        manifest,
        {
            "format": converter.name,
            "input": {"file": str(source), "sha256": sha256_file(source)},
            "options": asdict(options),
            "bad_rows": bad.count,
            "pairing": pairing,
            "files": {path.name: {"rows": rows, "sha256": sha256_file(path)} for path, rows in files.items()},
            "entries": entries,
        },
    )
    return Conversion(entries, files, bad, pairing, manifest)


def _write(items: Iterable[Item], out: Path, several: bool) -> tuple[list[Written], bool]:
    """Write the rows; the files, and whether any row thinks."""
    written: dict[str, Written] = {}
    thinks = False
    with ExitStack() as stack:
        for item in items:
            task = item["task"]
            if task not in written:
                path = out.with_suffix(f".{task}.jsonl") if several else out
                written[task] = Written(task, path, file=stack.enter_context(atomic_write(path)))
            written[task].add(item)
            thinks = thinks or item["thinking"] is not None
    return list(written.values()), thinks


def _entry_name(name: str, written: Written, several: bool) -> str:
    return f"{name}_{written.task}" if several else name


def entry_of(format: str, written: Written, options: Options, thinks: bool) -> dict[str, Any]:
    """The entry of ``dataset_info.json`` for a file of rows: a judge that fits, to be changed at will."""
    judge: dict[str, Any] = {"type": JUDGES[written.task]}
    aspects = sorted(aspect for aspect in written.aspects if aspect)
    listed = len(aspects) <= _MOST_ASPECTS and None not in written.aspects
    if written.task == "compare" and format in ("speecheval", "ms_swift"):
        judge["type"] = "speecheval_comparison"
    elif format == "sagelm":
        judge |= _sagelm_judge(set(aspects))
    elif written.task in ("compare", "score") and aspects and listed:
        judge["aspects"] = aspects
    if written.task == "score" and written.scale:
        judge["scale"] = written.scale
    if written.task == "compare" and options.verdict_values and "tie" not in options.verdict_values.values():
        judge["labels"] = {"first": "1", "second": "2"}
    if thinks:
        judge["chain_of_thought"] = True
    formatting = "speech_pair" if written.task == "compare" else "speech_clip"
    return {"file_name": written.path.name, "formatting": formatting, "judge": judge}


def _sagelm_judge(aspects: set[str]) -> dict[str, Any]:
    from earwitness.judges.registry import JUDGE_TYPES

    for name in ("sagelm_semantic", "sagelm_acoustic"):
        if aspects <= set(JUDGE_TYPES[name].aspects):
            return {"type": name}
    return {"type": "pairwise", "template": "sagelm/pairwise"}


def extracted(items: Iterable[Item], folder: Path, audio_out: Path | None) -> Iterator[Item]:
    """Yield the items with embedded clips written to files, named by their content.

    Args:
        items: as converted.
        folder: of the rows; paths are relative to it where the clips are inside.
        audio_out: where clips go.

    Raises:
        UserError: a clip is embedded and ``audio_out`` is None.
        RowError: an embedded clip of an unknown format.
    """
    for item in items:
        for place, audio in enumerate(item["audios"]):
            if isinstance(audio, Mapping):
                if audio_out is None:
                    raise UserError("the clips are inside the file; say where to write them (--audio-out FOLDER)")
                try:
                    path = extract(audio, audio_out)
                except RowError as error:
                    provenance = item["provenance"]
                    raise RowError(error.reason, error.value, provenance["file"], provenance["row"]) from None
                assert path is not None
                inside = path.resolve().is_relative_to(folder.resolve())
                item["audios"][place] = os.path.relpath(path, folder) if inside else str(path.resolve())
        yield item
