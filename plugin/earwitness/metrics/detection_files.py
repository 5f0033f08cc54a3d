"""Reading clips that were judged real or fake: our runs, ms-swift results, score rows and text score files.

A text score file has white-space separated columns, as the reference's scripts write and read them:
``speaker utterance score prediction label key`` (1, 0 or -1 for prediction and label; bonafide, spoof or unknown for
key), ``speaker utterance score key``, ``utterance score key`` or ``score key``. Columns are counted from the right, so
that names may hold spaces.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earwitness.data.converters.speecheval import LANGUAGES
from earwitness.errors import RowError, UserError, shorten
from earwitness.files import ROW_FORMATS, numbered_rows
from earwitness.judges import parse
from earwitness.judges.sections import split_response
from earwitness.judges.spec import JudgeSpec
from earwitness.metrics.label_tokens import label_score

LABELS = {"real": "real", "bonafide": "real", "fake": "fake", "spoof": "fake"}
UNLABELLED = ("", "unknown", "unlabelled", "none", "null", "n/a", "?", "-", "-1")
_READ = {"id", "label", "labels", "reference", "solution", "score", "response", "raw", "predict", "prompt", "verdict"}
_READ |= {"unscored", "audio", "row"}
_JUDGE = JudgeSpec.of_type("speecheval_detection")
_SOLUTION = re.compile(r"^\s*<task>.*?</task>", re.DOTALL)


@dataclass(frozen=True)
class Clip:
    """One judged clip.

    Attributes:
        id: names the clip; ``None`` in files without names.
        label: "real", "fake", or ``None`` for unlabelled clips, which no figure counts.
        score: higher is more real; ``None`` where unscored.
        verdict: "real", "fake", or ``None``.
        unscored: why there is no score or no verdict; ``None`` where there are both.
        groups: language, source and other columns to break figures down by.
        row: where it stands in its file, from 1.
    """

    id: str | None
    label: str | None
    score: float | None
    verdict: str | None = None
    unscored: str | None = None
    groups: Mapping[str, Any] = field(default_factory=dict, hash=False)
    row: int = 0


def read_clips(path: str | os.PathLike[str]) -> list[Clip]:
    """Read the judged clips of a file in any of the formats above.

    Raises:
        UserError: the file cannot be read, is empty, or names one clip twice.
        RowError: a row is broken (a label out of the menu, a score that is no finite number); names file and row.
    """
    path = Path(path)
    clips = list(_rows(path) if path.suffix.lower() in ROW_FORMATS and path.suffix.lower() != ".txt" else _lines(path))
    if not clips:
        raise UserError(f"{path}: holds no rows")
    seen: dict[str, int] = {}
    for clip in clips:
        if clip.id is not None and seen.setdefault(clip.id, clip.row) != clip.row:
            raise UserError(f"{path}, row {clip.row}: clip {clip.id!r} stands in row {seen[clip.id]} already")
    return clips


def with_references(clips: list[Clip], references: list[Clip], name: str) -> list[Clip]:
    """Give clips the labels and groups of the references with the same id.

    Raises:
        UserError: a clip has no id or no reference, references have no prediction, or the labels of both contradict.
    """
    known = {clip.id: clip for clip in references if clip.id is not None}
    joined = []
    for clip in clips:
        reference = known.pop(clip.id, None) if clip.id is not None else None
        if reference is None:
            raise UserError(f"prediction row {clip.row}: clip {clip.id!r} is not in the references {name}")
        if clip.label is not None and clip.label != reference.label:
            raise UserError(
                f"prediction row {clip.row}: clip {clip.id!r} is labelled {clip.label!r}, but {reference.label!r} in "
                f"the references {name}, row {reference.row}"
            )
        joined.append(replace(clip, label=reference.label, groups={**reference.groups, **clip.groups}))
    missing = [Clip(clip.id, clip.label, None, None, "no prediction", clip.groups, clip.row) for clip in known.values()]
    return joined + missing


def _rows(path: Path) -> Iterable[Clip]:
    for number, row in numbered_rows(path):
        try:
            yield replace(_row(row), row=number)
        except RowError as error:
            raise error.at(path, number) from None


def _row(row: Mapping[str, Any]) -> Clip:
    kinds: dict[str, Callable[[Mapping[str, Any]], Clip]] = {
        "response": _swift,
        "raw": _run,
        "score": _scored,
        "predict": _predicted,
    }
    for column, read in kinds.items():
        if column in row:
            return read(row)
    if label := _first(row, ("label", "labels", "reference", "solution", "key")):
        return Clip(_id(row), read_label(label), None, None, "no prediction", _groups(row))
    raise RowError(f"has none of the columns {', '.join(kinds)}; its columns: {', '.join(map(str, row))}")


def _swift(row: Mapping[str, Any]) -> Clip:
    verdict = parse(row["response"], _JUDGE)
    score = label_score(row.get("logprobs"), verdict.verdict)
    reason = verdict.unscored or score.reason
    label = read_label(_first(row, ("labels", "label", "solution")))
    return Clip(_id(row), label, score.value, _thresholded(score.value, verdict.verdict), reason, _groups(row))


def _run(row: Mapping[str, Any]) -> Clip:
    verdict = row.get("verdict")
    if verdict not in ("real", "fake", None):
        raise RowError(f"verdict {verdict!r} is not allowed; allowed: real, fake, null", value=verdict)
    probabilities = row.get("probabilities") or {}
    real, fake = probabilities.get("real"), probabilities.get("fake")
    score = None
    if real is not None and fake is not None:
        total = _number(real, "probabilities.real") + _number(fake, "probabilities.fake")
        score = real / total if total > 0 else None
    reason = row.get("unscored") or (None if score is not None else "no label probabilities")
    groups = {**_groups(row), **(row.get("meta") or {})}
    return Clip(_id(row), read_label(row.get("reference")), score, verdict, reason, groups)


def _scored(row: Mapping[str, Any]) -> Clip:
    label = read_label(_first(row, ("label", "labels", "reference", "key")))
    if row["score"] is None or row["score"] == "":
        return Clip(_id(row), label, None, None, "no score", _groups(row))
    return Clip(_id(row), label, _number(row["score"], "score"), None, None, _groups(row))


def _predicted(row: Mapping[str, Any]) -> Clip:
    verdict = parse(row["predict"], _JUDGE)
    reason = verdict.unscored or "no log-probabilities"
    return Clip(_id(row), read_label(row.get("label")), None, verdict.verdict, reason, _groups(row))


def read_label(value: Any) -> str | None:
    """Read a label as files write it (bonafide, spoof, tagged answers too): "real", "fake", ``None`` if unlabelled.

    Raises:
        RowError: anything else; it is never taken for a fake clip.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = _SOLUTION.sub("", str(value))
    answer = split_response(text, False).answer if "<" in text else text.strip()
    folded = (answer or "").casefold()
    if folded in UNLABELLED:
        return None
    if folded not in LABELS:
        allowed = f"{', '.join(LABELS)}, or {', '.join(filter(None, UNLABELLED))} for unlabelled clips"
        raise RowError(f"label {shorten(repr(value))} is not allowed; allowed: {allowed}", value=value)
    return LABELS[folded]


def _thresholded(score: float | None, verdict: str | None) -> str | None:
    """The reference's verdict: real from P(real) 0.5 on; without a score what the text says."""
    if score is None:
        return verdict
    return "real" if score >= 0.5 else "fake"


def _first(row: Mapping[str, Any], columns: Iterable[str]) -> Any:
    return next((row[column] for column in columns if row.get(column) not in (None, "")), None)


def _id(row: Mapping[str, Any]) -> str | None:
    audios = row.get("audios")
    audio = audios[0] if isinstance(audios, list) and audios else audios if isinstance(audios, str) else None
    value = row.get("id") or (row.get("key") if "task" in row else None) or row.get("audio") or audio
    return None if value is None else str(value)


def _groups(row: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: value for name, value in row.items() if name not in _READ and isinstance(value, str | int)}
    if language := _language(_id(row) or ""):
        groups.setdefault("language", language)
    return groups


def _language(path: str) -> str | None:
    """The language that a SpeechEval path names: a folder ``zh`` or a file name that begins with ``zh_``."""
    folders, name = posixpath.split(path)
    for part in (name.partition("_")[0] if "_" in name else "", *reversed(folders.split("/"))):
        if part in LANGUAGES:
            return LANGUAGES[part]
    return None


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise RowError(f"{name} {shorten(repr(value))} is no finite number", value=value)
    return number


def _lines(path: Path) -> Iterable[Clip]:
    lines = [(number, row["text"].split()) for number, row in numbered_rows(path, reading="lines")]
    wide = all(_has_prediction(columns) for _, columns in lines)
    for number, columns in lines:
        try:
            yield replace(_line(columns, wide), row=number)
        except RowError as error:
            raise error.at(path, number) from None


def _has_prediction(columns: list[str]) -> bool:
    """Whether a line ends in score, prediction, label and key."""
    return (
        len(columns) >= 5 and columns[-3] in ("0", "1") and columns[-2] in ("0", "1", "-1") and _is_number(columns[-4])
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _line(columns: list[str], wide: bool) -> Clip:
    tail = 4 if wide else 2
    if len(columns) < tail:
        raise RowError(f"has {len(columns)} column(s); allowed: '[speaker] [utterance] score [prediction label] key'")
    names, values = columns[:-tail], columns[-tail:]
    label = read_label(values[-1])
    score = _number(values[0], "score")
    # The first name is the speaker where there are two; a name with spaces belongs to the utterance.
    id = " ".join(names[1:] if len(names) > 1 else names) or None
    groups = {"speaker": names[0]} if len(names) > 1 else {}
    if id and (language := _language(id)):
        groups["language"] = language
    if not wide:
        return Clip(id, label, score, groups=groups)
    stated = {"1": "real", "0": "fake", "-1": None}[values[2]]
    if stated is not None and label is not None and stated != label:
        raise RowError(f"label {values[2]} means {stated}, but key {values[3]!r} means {label}", value=values[3])
    return Clip(id, label if stated else None, score, "real" if values[1] == "1" else "fake", groups=groups)
