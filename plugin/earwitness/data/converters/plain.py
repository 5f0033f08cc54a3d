"""Any CSV, TSV, JSONL or Parquet file of pairs or clips: the user declares which column is what, nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earwitness.data.converters.fields import (
    NO_OPTIONS,
    Options,
    Row,
    audio,
    audio_name,
    choice,
    column,
    number,
    text,
    unlabelled,
)
from earwitness.data.converters.item import CLIPS, VERDICTS, Item, Task, new_item, stable_id
from earwitness.errors import UserError

_TEXTS = ("aspect", "question", "text", "sentence", "rationale", "thinking", "answer", "language", "source")
_PAIR = ("audio_a", "audio_b", "verdict", "system_a", "system_b", "speaker_a", "speaker_b")
_CLIP = ("audio", "verdict", "score", "system", "speaker")
COLUMNS = tuple(dict.fromkeys(("id", *_PAIR, *_CLIP, *_TEXTS, "rater")))
"""The names that ``columns`` may map to columns of the file."""


def check_plain(options: Options) -> None:
    """Check a declaration before the first row is read.

    Raises:
        UserError: names what is unknown, missing or contradictory, and what is allowed.
    """
    declared = options.columns
    unknown = [name for name in declared if name not in COLUMNS]
    if unknown:
        raise UserError(f"unknown column name '{unknown[0]}'; allowed: {', '.join(COLUMNS)}")
    fitting = _PAIR if "audio_a" in declared or "audio_b" in declared else _CLIP
    for needed in fitting[:2] if fitting is _PAIR else fitting[:1]:
        if needed not in declared:
            raise UserError(f"columns must name '{needed}'; a pair needs audio_a and audio_b, a single clip audio")
    strange = [name for name in declared if name in (*_PAIR, *_CLIP) and name not in fitting]
    if strange:
        raise UserError(f"column '{strange[0]}' does not go with {fitting[0]}; allowed: {', '.join(fitting)}")
    task = task_of(options)
    if "verdict" in declared:
        if task not in VERDICTS:
            raise UserError(f"task '{task}' has no verdict; tasks with one: {', '.join(VERDICTS)}")
        _check_values(options.verdict_values, VERDICTS[task])
    if task in ("compare", "score") and options.aspect is None and "aspect" not in declared:
        raise UserError(f"task '{task}' needs what is judged: an 'aspect' for the file, or a column of aspects")
    if "score" in declared and options.scale is None:
        raise UserError("column 'score' needs the scale of the scores, such as 1:5")


def _check_values(values: Mapping[str, str], verdicts: tuple[str, ...]) -> None:
    if not values:
        pairs = ", ".join(f"{value}={verdict}" for value, verdict in zip(("A", "B", "tie"), verdicts, strict=False))
        raise UserError(f"column 'verdict' needs what its values stand for, such as {pairs}")
    for value, verdict in values.items():
        if verdict not in verdicts:
            raise UserError(f"value '{value}' stands for '{verdict}'; allowed: {', '.join(verdicts)}")
    needed = [verdict for verdict in verdicts if verdict != "tie" and verdict not in values.values()]
    if needed:
        raise UserError(f"no value stands for '{needed[0]}'; give one for each of {', '.join(verdicts)} (tie if any)")


def task_of(options: Options) -> Task:
    """The declared task, else the one that the declared columns make plain.

    Raises:
        UserError: none of them tells, or the declared task takes another number of clips.
    """
    declared = options.columns
    clips = 2 if "audio_a" in declared else 1
    if options.task is not None:
        if CLIPS.get(options.task) != clips:
            fitting = [task for task, count in CLIPS.items() if count == clips]
            raise UserError(f"task '{options.task}' does not fit {clips} clip(s); allowed: {', '.join(fitting)}")
        return options.task  # type: ignore[return-value]
    if clips == 2:
        return "compare"
    if ("score" in declared) == ("verdict" in declared):
        raise UserError("declare the task, or one column of 'score' (task score) and 'verdict' (task detect)")
    return "score" if "score" in declared else "detect"


def plain(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one row by the declared columns; see ``check_plain`` for what must be declared.

    Raises:
        RowError: a declared column is not there; a label that is missing or not in the declared menu; a score that is
            no number on the declared scale; an empty id.
    """
    declared = options.columns
    task = task_of(options)
    values = {name: column(row, source) for name, source in declared.items()}
    letters = ("_a", "_b") if CLIPS[task] == 2 else ("",)
    audios = [audio(values[f"audio{letter}"], declared[f"audio{letter}"], options) for letter in letters]
    texts: dict[str, Any] = {name: _text(row, declared, name, options) for name in (*_TEXTS, "rater")}
    if "aspect" in declared and options.aspect is None:
        texts["aspect"] = text(row, declared["aspect"], options, needed=True)
    texts["aspect"] = texts["aspect"] or options.aspect
    texts["language"] = texts["language"] or options.language
    source = texts.pop("source") or options.source
    rater = texts.pop("rater")
    asked = [str(part or "") for part in (texts["aspect"], texts["question"], texts["text"], rater)]
    key = str(text(row, declared["id"], options, needed=True)) if "id" in declared else None
    return new_item(
        id=key if key is not None else stable_id("row", *map(audio_name, audios), *asked),
        task=task,
        audios=audios,
        format="plain",
        source=source,
        key=key,
        verdict=_verdict(row, options),
        score=_score(row, options),
        scale=options.scale,
        systems=[_text(row, declared, f"system{letter}", options) for letter in letters],
        speakers=[_text(row, declared, f"speaker{letter}", options) for letter in letters],
        raters=[rater] if rater else [],
        extra={name: value for name, value in row.items() if name not in declared.values()},
        **texts,
    )


def _text(row: Row, declared: Mapping[str, str], name: str, options: Options) -> str | None:
    return text(row, declared[name], options) if name in declared else None


def _verdict(row: Row, options: Options) -> str | None:
    name = options.columns.get("verdict")
    if name is None:
        return None
    if row[name] is None or row[name] == "":
        unlabelled(name, options, ", ".join(options.verdict_values))
        return None
    return choice(row[name], name, options.verdict_values)


def _score(row: Row, options: Options) -> float | None:
    name = options.columns.get("score")
    if name is None:
        return None
    if row[name] is None or row[name] == "":
        unlabelled(
            name, options, f"a number from {options.scale[0]:g} to {options.scale[1]:g}" if options.scale else ""
        )
        return None
    return number(row, name, options.scale)
