"""What is checked before a training run starts, so that nothing fails or is cut in the middle of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from earwitness.audio.plugin import EXACT_PROCESSORS, overlong_of
from earwitness.data.convert import SPEECH_FORMATS
from earwitness.data.overlong import ClipTokens, first_too_long, report_skipped, report_truncated
from earwitness.data.records import Record
from earwitness.errors import RowError, UserError

SAMPLING_RATE = 16000  # Hz; what every supported family hears
TEMPLATE_TOKENS = 256
"""Tokens that a chat template puts around a row, at most: rows that may reach ``cutoff_len`` are encoded to see."""


@dataclass(frozen=True)
class Run:
    """What the run at hand makes of a row.

    Attributes:
        processor: the model's; None for models of text.
        encode: encodes a row that the host has aligned; raises `UserError` where ``cutoff_len`` would cut it.
        align: turns a raw row of a dataset (its ``DatasetAttr``) into the host's aligned one.
    """

    processor: Any
    encode: Callable[[dict[str, Any]], None]
    align: Callable[[Any, dict[str, Any]], dict[str, Any]]


RUN: ContextVar[Run | None] = ContextVar("RUN", default=None)
"""Set while datasets are read for a run."""


@dataclass(frozen=True)
class Row:
    """A row as far as it is checked: its number, clips, bytes of text, and the host's aligned form when asked for."""

    number: int
    audios: list[str]
    text_bytes: int
    aligned: Callable[[], dict[str, Any]]


def check_dataset(dataset_attr: Any, data_args: Any) -> None:
    """Check every row and every clip's header of a local audio dataset; other datasets pass.

    Args:
        dataset_attr: the host's ``DatasetAttr`` with ``judge_name`` and ``judge_entry``.
        data_args: the host's ``DataArguments``.

    Raises:
        UserError: the entry, a row or a clip is wrong; names file and row.
    """
    entry = dataset_attr.judge_entry
    declared = entry.get("formatting") in SPEECH_FORMATS or "judge" in entry
    if dataset_attr.load_from != "file" or not (declared or dataset_attr.audios):
        return
    path = Path(data_args.dataset_dir, dataset_attr.dataset_name)
    if not path.is_file():
        return  # a folder of files or a missing one: the host reads it, or says so
    rows = _declared_rows(dataset_attr, data_args) if declared else _host_rows(dataset_attr, data_args, path)
    _refuse_packing(dataset_attr.judge_name, data_args)
    run = RUN.get()
    if run is None or type(run.processor).__name__ not in EXACT_PROCESSORS:
        _check_headers(rows, path)
    else:
        _check_lengths(rows, path, run, data_args.cutoff_len)


def _refuse_packing(name: str, data_args: Any) -> None:
    """Refuse to pack rows with clips, on which the host trains wrongly without a word, or fails in the first step."""
    if not getattr(data_args, "packing", False):
        return
    if data_args.neat_packing:
        reason = "LLaMA-Factory cannot keep packed rows with clips apart"
    else:
        reason = "rows would attend to the clips and verdicts of the rows packed before them"
    raise UserError(
        f"{'neat_packing' if data_args.neat_packing else 'packing'}: {name} has clips, and {reason}; take it out "
        "(train_sampling_strategy: group_by_length saves padding too)"
    )


def _declared_rows(dataset_attr: Any, data_args: Any) -> Iterator[Row]:
    from earwitness.data.records import iter_records

    records = iter_records(
        dataset_attr.judge_name, data_args.dataset_dir, data_args.media_dir, limit=data_args.max_samples
    )
    for record in records:
        text = record.prompt + (record.response or "")
        yield Row(record.row, list(record.audios), len(text.encode()), partial(_aligned, record))


def _aligned(record: Record) -> dict[str, Any]:
    answer = [] if record.response is None else [{"role": "assistant", "content": record.response}]
    return {
        "_prompt": [{"role": "user", "content": record.prompt}],
        "_response": answer,
        "_system": "",
        "_tools": "",
        "_audios": list(record.audios),
    }


def _host_rows(dataset_attr: Any, data_args: Any, path: Path) -> Iterator[Row]:
    """Yield rows in the host's own formats, any task, after counting their placeholders."""
    from earwitness.audio.plugin import AUDIO_PLACEHOLDER
    from earwitness.data.records import resolve_audio
    from earwitness.files import BadRows, numbered_rows

    for number, row in numbered_rows(path, BadRows()):
        if data_args.max_samples is not None and number > data_args.max_samples:
            return
        audios = row.get(dataset_attr.audios) or []
        audios = [audios] if isinstance(audios, str) else audios
        texts = list(_texts(row, dataset_attr))
        placeholders = sum(text.count(AUDIO_PLACEHOLDER) for text in texts)
        if placeholders != len(audios):
            raise RowError(
                f"the prompt holds {placeholders} {AUDIO_PLACEHOLDER} placeholder(s), but column "
                f"{dataset_attr.audios!r} lists {len(audios)} audio(s); each clip needs one",
                file=path,
                row=number,
            )
        run = RUN.get()
        yield Row(
            number,
            [resolve_audio(audio, data_args.media_dir) for audio in audios if isinstance(audio, str)],
            sum(len(text.encode()) for text in texts),
            lambda row=row, run=run: run.align(dataset_attr, row),  # type: ignore[misc]
        )


def _texts(row: dict[str, Any], dataset_attr: Any) -> Iterator[str]:
    if dataset_attr.formatting == "alpaca":
        cells = [row.get(column) for column in (dataset_attr.prompt, dataset_attr.query, dataset_attr.response)]
        for turn in row.get(dataset_attr.history) or []:
            cells.extend(turn)
    else:
        messages = row.get(dataset_attr.messages) or []
        cells = [message.get(dataset_attr.content_tag) for message in messages if isinstance(message, dict)]
    yield from (text for text in cells if isinstance(text, str))


def _check_headers(rows: Iterable[Row], path: Path) -> None:
    """Check that every clip can be read, for models whose limits are not known here."""
    from earwitness.audio.lengths import clip_samples

    seen: set[str] = set()
    for row in rows:
        for audio in row.audios:
            if audio not in seen:
                seen.add(audio)
                try:
                    clip_samples(audio, SAMPLING_RATE)
                except UserError as error:
                    raise RowError(str(error), file=path, row=row.number) from None


def _check_lengths(rows: Iterable[Row], path: Path, run: Run, cutoff_len: int) -> None:
    """Check that the model hears every clip, and that ``cutoff_len`` cuts no row, by the counts of tokenisation."""
    measure, policy = ClipTokens(run.processor), overlong_of(run.processor)
    skipped, number_of_rows = [], 0
    for row in rows:
        number_of_rows += 1
        try:
            found = [measure(audio) for audio in row.audios]
            too_long = first_too_long(found)
            if too_long is None:
                tokens = sum(count for count in found if isinstance(count, int))
                if tokens + row.text_bytes + TEMPLATE_TOKENS > cutoff_len:  # no token is less than a byte of text
                    run.encode(row.aligned())
            elif policy == "skip":
                skipped.append(RowError(str(too_long), file=path, row=row.number))
            else:
                raise too_long
        except UserError as error:
            raise RowError(str(error), file=path, row=row.number) from None
    report_skipped(skipped, number_of_rows)
    report_truncated(measure.truncated)


class WholePrompts:
    """Mixin for the host's dataset processors: a prompt with audio that ``cutoff_len`` would cut is an error.

    The host cuts token ids blindly, which can take away the audio tokens of the second clip.
    """

    data_args: Any

    def _encode_data_example(self, *args: Any, audios: list, **kwargs: Any) -> tuple[list[int], ...]:
        if not audios:
            return super()._encode_data_example(*args, audios=audios, **kwargs)  # type: ignore[misc]
        limited = self.data_args
        self.data_args = copy(limited)
        self.data_args.cutoff_len = sys.maxsize
        try:
            encoded = super()._encode_data_example(*args, audios=audios, **kwargs)  # type: ignore[misc]
        finally:
            self.data_args = limited
        longest = max(len(ids) for ids in encoded if isinstance(ids, list))  # KTO adds a truth value
        if longest > limited.cutoff_len:
            from earwitness.audio.reading import name_of

            raise UserError(
                f"{', '.join(map(name_of, audios))}: the prompt takes {longest} tokens, cutoff_len allows "
                f"{limited.cutoff_len}; raise cutoff_len, or shorten the clips or the text"
            )
        return encoded
