"""The one documented dict that every converter returns, and its flat form for our own JSONL files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from earwitness.errors import RowError, shorten
from earwitness.files import json_value

Task = Literal["compare", "score", "assess", "suggest", "detect"]
Audio = str | dict[str, Any]  # a path, or {"bytes": ..., "path": ...} as Parquet files of the hub embed it

CLIPS: Mapping[str, int] = {"compare": 2, "score": 1, "assess": 1, "suggest": 1, "detect": 1}
VERDICTS: Mapping[str, tuple[str, ...]] = {"compare": ("first", "second", "tie"), "detect": ("real", "fake")}
MIRRORED = {"first": "second", "second": "first"}


class Detail(TypedDict):
    """One structured label beside the main one: a dimension, a distortion, a fact about the speaker, a rater's vote."""

    name: str  # lower case: "intelligibility", "distortion type", "speaker gender"
    clip: str | None  # "a" or "b": the clip of a pair that it speaks of
    rater: str | None  # who said so, where several did
    verdict: str | None  # "first", "second" or "tie"
    score: float | None
    text: str | None
    start: float | None  # seconds
    end: float | None  # seconds


class Provenance(TypedDict):
    """Where an item comes from; ``file`` and ``row`` (from 1) are known once it was read from a file."""

    format: str
    source: str | None
    key: str | None
    file: str | None
    row: int | None


class Item(TypedDict):
    """One row of any format. What the source does not say is None; nothing is guessed."""

    id: str  # stable: the source's own, else a hash of what is asked (never of the label)
    task: str  # a key of CLIPS
    audios: list[Audio]  # one clip, or A and B
    aspect: str | None
    verdict: str | None  # of VERDICTS[task]
    score: float | None
    scores: dict[str, float | None] | None  # a score for each dimension
    scale: list[float] | None  # lowest and highest score
    question: str | None  # what the clips answer
    text: str | None  # what is said in the clips
    sentence: str | None  # a key of what is said, for pairing and splitting where the text itself is unknown
    prompt: str | None  # the user message as the source renders it
    thinking: str | None
    rationale: str | None
    answer: str | None  # free text that is the answer itself
    language: str | None
    systems: list[str | None]  # what made each clip
    speakers: list[str | None]  # who speaks in each clip
    raters: list[str]
    details: list[Detail]
    context: str | None  # the structured labels as the source writes them, for an evaluator
    prediction: dict[str, Any] | None  # {"raw": text, "logprobs": {label: number or None} or None} of inference results
    provenance: Provenance
    extra: dict[str, Any]  # columns of the source without a place above


def new_item(
    *,
    id: str,
    task: Task,
    audios: Sequence[Audio],
    format: str,
    source: str | None = None,
    key: str | None = None,
    aspect: str | None = None,
    verdict: str | None = None,
    score: float | None = None,
    scores: Mapping[str, float | None] | None = None,
    scale: Sequence[float] | None = None,
    question: str | None = None,
    text: str | None = None,
    sentence: str | None = None,
    prompt: str | None = None,
    thinking: str | None = None,
    rationale: str | None = None,
    answer: str | None = None,
    language: str | None = None,
    systems: Sequence[str | None] | None = None,
    speakers: Sequence[str | None] | None = None,
    raters: Iterable[str] = (),
    details: Iterable[Detail] = (),
    context: str | None = None,
    prediction: dict[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Item:
    """Build an item; every key is present, whatever the format.

    Raises:
        RowError: the number of clips does not fit the task; names both.
    """
    clips = CLIPS[task]
    if len(audios) != clips:
        raise RowError(f"holds {len(audios)} clip(s), but task '{task}' needs {clips}", value=list(audios))
    return {
        "id": id,
        "task": task,
        "audios": list(audios),
        "aspect": aspect,
        "verdict": verdict,
        "score": score,
        "scores": None if scores is None else dict(scores),
        "scale": None if scale is None else [float(bound) for bound in scale],
        "question": question,
        "text": text,
        "sentence": sentence if sentence is not None else text,
        "prompt": prompt,
        "thinking": thinking,
        "rationale": rationale,
        "answer": answer,
        "language": language,
        "systems": [None] * clips if systems is None else list(systems),
        "speakers": [None] * clips if speakers is None else list(speakers),
        "raters": list(raters),
        "details": list(details),
        "context": context,
        "prediction": prediction,
        "provenance": {"format": format, "source": source, "key": key, "file": None, "row": None},
        "extra": dict(extra or {}),
    }


def detail(
    name: str,
    *,
    clip: str | None = None,
    rater: str | None = None,
    verdict: str | None = None,
    score: float | None = None,
    text: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Detail:
    """Build a detail; every key is present."""
    return {
        "name": name,
        "clip": clip,
        "rater": rater,
        "verdict": verdict,
        "score": score,
        "text": text,
        "start": start,
        "end": end,
    }


def stable_id(prefix: str, *parts: str) -> str:
    """An id from content, for formats without one: ``prefix-`` and 16 hexadecimal digits of SHA-256."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{prefix}-{digest[:16]}"


_LETTERS = ("_a", "_b")
_BY_TASK: Mapping[str, tuple[str, ...]] = {
    "compare": ("verdict", "rationale", "answer"),
    "score": ("score", "scores", "rationale"),
    "assess": ("score", "scores", "answer"),
    "suggest": ("answer",),
    "detect": ("verdict", "rationale"),
}
_COMMON = ("aspect", "question", "text", "sentence", "prompt", "thinking", "context", "language")
_NOT_TEXT = ("score", "scores")


def to_row(item: Item) -> dict[str, Any]:
    """Flatten an item into a row for the formattings ``speech_pair`` (task compare) and ``speech_clip`` (others).

    Columns: ``id`` and ``task``; ``audio_a`` and ``audio_b``, or ``audio``; likewise ``system`` and ``speaker``;
    ``source`` and ``provenance``; ``rater``, several joined by ``;``; ``votes`` of pairs, a verdict each; and those of
    the item.
    Columns of the source keep their name, behind ``source_`` where it is taken, and of their values what JSON can hold.
    Rows of one task have the same columns and an absent text is empty, because Arrow cannot read a column that holds
    null for long and then text.
    """
    letters = _LETTERS if len(item["audios"]) == 2 else ("",)
    row: dict[str, Any] = {"id": item["id"], "task": item["task"]}
    row.update({f"audio{letter}": clip for letter, clip in zip(letters, item["audios"], strict=True)})
    for name in (*_BY_TASK[item["task"]], *_COMMON):
        value = item[name]  # type: ignore[literal-required]
        row[name] = value if name in _NOT_TEXT else value or ""
    row["source"] = item["provenance"]["source"] or ""
    for name, values in (("system", item["systems"]), ("speaker", item["speakers"])):
        row.update({f"{name}{letter}": value or "" for letter, value in zip(letters, values, strict=True)})
    row["rater"] = ";".join(item["raters"])
    if item["task"] == "compare":
        row["votes"] = [entry["verdict"] for entry in item["details"] if entry["rater"] and entry["verdict"]]
    if item["prediction"] is not None:
        row["prediction"] = json_value(item["prediction"])
    row["provenance"] = {name: value for name, value in item["provenance"].items() if name != "source"}
    for name, value in item["extra"].items():
        row[name if name not in row else f"source_{name}"] = json_value(value)
    return row


def swapped_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A ``speech_pair`` row with A and B in each other's place: clips, systems, speakers, verdict and votes.

    Columns that only the source knows stay as they are; ``swapped`` says that they are in the source's order.

    Raises:
        ValueError: the row holds text that may speak of A and B (see ``can_swap``).
    """
    if not can_swap(row):
        raise ValueError(f"row {row.get('id')!r} holds text about A and B and cannot be swapped")
    swapped = dict(row)
    for name in ("audio", "system", "speaker"):
        if f"{name}_a" in row and f"{name}_b" in row:
            swapped[f"{name}_a"], swapped[f"{name}_b"] = row[f"{name}_b"], row[f"{name}_a"]
    swapped["verdict"] = MIRRORED.get(row["verdict"], row["verdict"])
    if "votes" in row:
        swapped["votes"] = [MIRRORED.get(vote, vote) for vote in row["votes"] or ()]
    swapped["swapped"] = not row.get("swapped", False)
    return swapped


def can_swap(row: Mapping[str, Any]) -> bool:
    """Whether a row holds no text that swapping could make false: rationale, thinking, answer, context, prediction."""
    return not any(row.get(name) for name in ("rationale", "thinking", "answer", "context", "prediction"))


def finite(value: object, column: str) -> float:
    """A finite number.

    Raises:
        RowError: the value is no number, or is NaN or infinite; names column and value.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise RowError(f"column '{column}' holds {shorten(repr(value))}; allowed: a finite number", value=value)
    return number
