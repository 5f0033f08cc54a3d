"""Rows with clips beyond the model's limit: dropped, counted and listed where a run says ``overlong_audio: skip``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from earwitness.audio.features import frame_count
from earwitness.audio.lengths import clip_samples, name_of
from earwitness.audio.limits import ClipTooLongError, fit_samples, token_count
from earwitness.audio.plugin import EXACT_PROCESSORS, family_of, overlong_of
from earwitness.data.records import Record
from earwitness.errors import RowError, UserError

LISTED = 10
"""Rows named in a warning; beyond them, their number tells."""

_log = logging.getLogger("earwitness")


class ClipTokens:
    """Audio tokens of clips as a run counts them, each clip read once.

    Attributes:
        truncated: names of the clips of which the model hears only the beginning.
    """

    def __init__(self, processor: Any) -> None:
        self.truncated: list[str] = []
        self._extractor, self._family = processor.feature_extractor, family_of(processor)
        self._overlong = overlong_of(processor)
        self._known: dict[str, int | ClipTooLongError] = {}

    def __call__(self, audio: Any) -> int | ClipTooLongError:
        """Return the tokens of a clip, or the error that it is too long.

        Raises:
            UserError: the clip cannot be read, or is too short.
        """
        if not isinstance(audio, str):
            return self._count(audio)
        if audio not in self._known:
            self._known[audio] = self._count(audio)
        return self._known[audio]

    def _count(self, audio: Any) -> int | ClipTooLongError:
        samples = clip_samples(audio, self._extractor.sampling_rate)
        try:
            kept = fit_samples(samples, self._extractor, self._family, name_of(audio), self._overlong)
        except ClipTooLongError as error:
            return error
        if kept < samples:
            self.truncated.append(name_of(audio))
        return token_count(frame_count(kept, self._extractor), self._family)


def skips(processor: Any) -> bool:
    """Tell whether this run drops rows whose clips are too long."""
    return type(processor).__name__ in EXACT_PROCESSORS and overlong_of(processor) == "skip"


def drop_overlong(dataset: Any, processor: Any) -> Any:
    """Return the host's aligned dataset without the rows whose clips are too long, where the run skips those.

    Every process drops the same rows; ``preflight`` has counted and listed them.
    """
    if not skips(processor):
        return dataset
    measure = ClipTokens(processor)

    def fits(audios: list | None) -> bool:
        return first_too_long(map(measure, audios or [])) is None

    if not hasattr(dataset, "select"):  # streaming
        return dataset.filter(fits, input_columns=["_audios"])
    audios = dataset.select_columns(["_audios"])
    kept = [index for index, row in enumerate(audios) if fits(row["_audios"])]
    return dataset if len(kept) == len(dataset) else dataset.select(kept)


def without_overlong(records: list[Record], processor: Any) -> list[Record]:
    """Return the records that a run keeps, and say which are skipped or truncated; ``error`` keeps all for later."""
    if type(processor).__name__ not in EXACT_PROCESSORS or overlong_of(processor) == "error":
        return records
    measure = ClipTokens(processor)
    kept, dropped = [], []
    for record in records:
        try:
            too_long = first_too_long(map(measure, record.audios))
        except UserError as error:
            raise RowError(str(error), file=f"dataset '{record.dataset}'", row=record.row) from None
        if too_long is None:
            kept.append(record)
        else:
            dropped.append(RowError(str(too_long), file=f"dataset '{record.dataset}'", row=record.row))
    report_skipped(dropped, len(records))
    report_truncated(measure.truncated)
    return kept


def first_too_long(found: Iterable[int | ClipTooLongError]) -> ClipTooLongError | None:
    """Return the first error of a row's clips."""
    return next((error for error in found if isinstance(error, ClipTooLongError)), None)


def report_skipped(dropped: Sequence[RowError], rows: int) -> None:
    """Warn of the rows that are left out.

    Raises:
        UserError: none is left.
    """
    if not dropped:
        return
    lines = [str(error) for error in dropped[:LISTED]]
    if len(dropped) > LISTED:
        lines.append(f"and {len(dropped) - LISTED} more")
    if len(dropped) == rows:
        raise UserError(f"every row has a clip that is too long, so overlong_audio: skip leaves none; {lines[0]}")
    listed = "".join(f"\n  {line}" for line in lines)
    _log.warning("%d of %d rows skipped, their clips are too long:%s", len(dropped), rows, listed)


def report_truncated(clips: Sequence[str]) -> None:
    """Warn of the clips of which the model hears only the beginning."""
    if clips:
        more = f" and {len(clips) - LISTED} more" if len(clips) > LISTED else ""
        _log.warning("%d clips truncated, they are too long: %s%s", len(clips), ", ".join(clips[:LISTED]), more)
