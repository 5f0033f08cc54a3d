"""What is checked before a training run starts, so that nothing fails or is cut in the middle of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

from earwitness.data.convert import SPEECH_FORMATS
from earwitness.errors import RowError, UserError

SAMPLING_RATE = 16000  # Hz; what every supported family hears


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
    _check_clips(rows, path)


def _declared_rows(dataset_attr: Any, data_args: Any) -> Iterator[tuple[int, list[str]]]:
    from earwitness.data.records import load_records

    records = load_records(
        dataset_attr.judge_name, data_args.dataset_dir, data_args.media_dir, limit=data_args.max_samples
    )
    for record in records:
        yield record.row, list(record.audios)


def _host_rows(dataset_attr: Any, data_args: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the clips of rows in the host's own formats, any task, after counting their placeholders."""
    from earwitness.audio.plugin import AUDIO_PLACEHOLDER
    from earwitness.data.records import resolve_audio
    from earwitness.files import BadRows, numbered_rows

    for number, row in numbered_rows(path, BadRows()):
        if data_args.max_samples is not None and number > data_args.max_samples:
            return
        audios = row.get(dataset_attr.audios) or []
        audios = [audios] if isinstance(audios, str) else audios
        placeholders = sum(text.count(AUDIO_PLACEHOLDER) for text in _texts(row, dataset_attr))
        if placeholders != len(audios):
            raise RowError(
                f"the prompt holds {placeholders} {AUDIO_PLACEHOLDER} placeholder(s), but column "
                f"{dataset_attr.audios!r} lists {len(audios)} audio(s); each clip needs one",
                file=path,
                row=number,
            )
        yield number, [resolve_audio(audio, data_args.media_dir) for audio in audios if isinstance(audio, str)]


def _texts(row: dict[str, Any], dataset_attr: Any) -> Iterator[str]:
    if dataset_attr.formatting == "alpaca":
        cells = [row.get(column) for column in (dataset_attr.prompt, dataset_attr.query, dataset_attr.response)]
        for turn in row.get(dataset_attr.history) or []:
            cells.extend(turn)
    else:
        messages = row.get(dataset_attr.messages) or []
        cells = [message.get(dataset_attr.content_tag) for message in messages if isinstance(message, dict)]
    yield from (text for text in cells if isinstance(text, str))


def _check_clips(rows: Iterator[tuple[int, list[str]]], path: Path) -> None:
    from earwitness.audio.lengths import clip_samples

    seen: set[str] = set()
    for number, audios in rows:
        for audio in audios:
            if audio in seen:
                continue
            seen.add(audio)
            try:
                clip_samples(audio, SAMPLING_RATE)
            except UserError as error:
                raise RowError(str(error), file=path, row=number) from None


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
        longest = max(map(len, encoded))
        if longest > limited.cutoff_len:
            from earwitness.audio.reading import name_of

            raise UserError(
                f"{', '.join(map(name_of, audios))}: the prompt takes {longest} tokens, cutoff_len allows "
                f"{limited.cutoff_len}; raise cutoff_len, or shorten the clips or the text"
            )
        return encoded
