"""Records: the rows of a dataset as questions to a judge, each with a stable id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earwitness.data.entries import load_entry
from earwitness.data.example import Example, Mirror, Reference, as_mirror, mirror_reference
from earwitness.data.examples import row_to_example, training_example
from earwitness.data.seen_ids import SeenIds
from earwitness.errors import RowError, UserError
from earwitness.files import BadRows, numbered_rows
from earwitness.judges.spec import JudgeSpec


@dataclass(frozen=True)
class Record:
    """One row to judge.

    Attributes:
        id: the ``id`` column, else dataset, row and a digest of the question: the same for every run on the same file.
        dataset: name of the entry.
        row: place in the file as ``files.numbered_rows`` counts, from 1.
        judge: who is asked.
        aspect: what is judged, None where the judge asks for none.
        audios: resolved paths, in the record's own order (A, B).
        prompt: the user message with one ``<audio>`` for each clip.
        reference: canonical verdict, "real" or "fake", score, or aspect to score; None for unlabelled rows.
        response: the text a judge is trained to answer, None for unlabelled rows.
        meta: every column that the judge does not read: language, source, systems.
        mirror: writes the response for the clips in the other order.
    """

    id: str
    dataset: str
    row: int
    judge: JudgeSpec
    aspect: str | None
    audios: tuple[str, ...]
    prompt: str
    reference: Reference | None = None
    response: str | None = None
    meta: dict[str, Any] = field(default_factory=dict, hash=False)
    mirror: Mirror = field(default=as_mirror(None), repr=False, compare=False)

    def swapped(self) -> Record:
        """Return the same question with A and B in each other's place.

        Clips are reversed, the verdict is mirrored, and so is the response, which is None where its text cannot be
        turned around safely. Id, prompt and ``meta`` stay: what ``meta`` says of A is still about the former A.
        """
        return replace(
            self,
            audios=self.audios[::-1],
            reference=mirror_reference(self.reference, len(self.audios)),
            response=self.mirror(),
            mirror=as_mirror(self.response),
        )


def load_records(
    name: str,
    dataset_dir: str | os.PathLike[str] = "data",
    media_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    bad: BadRows | None = None,
    as_trained: bool = False,
) -> list[Record]:
    """Read all records of a dataset; as ``iter_records``, which see."""
    return list(iter_records(name, dataset_dir, media_dir, limit, bad, as_trained))


def iter_records(
    name: str,
    dataset_dir: str | os.PathLike[str] = "data",
    media_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    bad: BadRows | None = None,
    as_trained: bool = False,
) -> Iterator[Record]:
    """Yield the records of a dataset of ``dataset_info.json``, in bounded memory for files of any size.

    Args:
        name: of the entry: ours, a converter's format, or the host's alpaca, sharegpt and openai with audios.
        dataset_dir: the folder of ``dataset_info.json``; ``file_name`` is relative to it.
        media_dir: what relative clip paths start from; ``dataset_dir`` by default, as in the host.
        limit: read no more than this many records.
        bad: takes bad rows; without it the first one is raised.
        as_trained: in the order of clips that the judge's ``order_swap`` shows in training (`training_example`).

    Raises:
        UserError: the entry or its file cannot be read.
        RowError: a row is wrong, or two rows share an id; names file, row, value and what is allowed.
    """
    entry = load_entry(name, dataset_dir)
    if entry.ranking and entry.judge is None:
        raise UserError(
            f'dataset_info.json, entry {name!r}: holds preferences ("ranking": true), which are for training; to have '
            'its prompts judged, say by whom in a \'judge\' block, such as {"type": "alld_mos"}'
        )
    path = entry.path(dataset_dir)
    bad = bad or BadRows()
    folder = dataset_dir if media_dir is None else media_dir
    to_example = training_example if as_trained else row_to_example
    seen, repeats = SeenIds(), SeenIds()
    found = 0
    converter = None if entry.converted is None else entry.converted.format
    for number, row in numbered_rows(path, bad, converter.reading if converter else "rows"):
        if limit is not None and found >= limit:
            break
        try:
            example = to_example(row, entry)
            if converter and converter.repeats and example.id is not None:
                times = repeats.count(example.id, number)
                if times > 1:
                    example = replace(example, id=f"{example.id}#{times}")
            record = _record(example, name, number, folder)
            earlier = seen.add(record.id, number)
            if earlier is not None:
                raise RowError(f"id {record.id!r} is already that of row {earlier}; ids must differ", record.id)
        except RowError as error:
            bad.add(error.at(path, number))
            continue
        found += 1
        yield record


def _record(example: Example, dataset: str, row: int, media_dir: str | os.PathLike[str]) -> Record:
    return Record(
        id=example.id or f"{dataset}-{row}-{example.digest}",
        dataset=dataset,
        row=row,
        judge=example.judge,
        aspect=example.aspect,
        audios=tuple(resolve_audio(audio, media_dir) for audio in example.audios),
        prompt=example.prompt,
        reference=example.reference,
        response=example.response,
        meta=example.meta,
        mirror=example.mirror,
    )


def resolve_audio(audio: str, media_dir: str | os.PathLike[str]) -> str:
    """Return where a clip lies, by the host's rule and ``~``.

    Relative paths start at ``media_dir``; one that is not there but in the working directory is taken from there, as
    SageLM's ``Audio/`` folder needs. A clip that is nowhere gets its path under ``media_dir``.
    """
    audio = os.path.expanduser(audio)
    inside = os.path.join(media_dir, audio)
    return audio if not os.path.isfile(inside) and os.path.isfile(audio) else inside


def missing_audio(records: Iterable[Record]) -> list[tuple[Record, str]]:
    """List every clip that is no file, with its record, in order."""
    known: dict[str, bool] = {}
    missing = []
    for record in records:
        for audio in record.audios:
            if audio not in known:
                known[audio] = Path(audio).is_file()
            if not known[audio]:
                missing.append((record, audio))
    return missing
