"""From a completion and its record to what an evaluator needs to grade it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earwitness.judges.sections import split_response
from earwitness.rewards.criteria import Material, Task

if TYPE_CHECKING:
    from earwitness.data.records import Record

_PREFERENCES = {"first": "A is better than B", "second": "B is better than A", "tie": "A and B are similar"}


def graded_task(record: Record) -> Task | None:
    """Which rubrics apply to a record: None for real/fake detection, which has an exact answer instead."""
    kind = record.judge.kind
    if "fake" in record.judge.labels:
        return None
    if kind.name == "speecheval_suggestion":
        return "Suggestion"
    return "Comparison" if kind.clips == 2 else "Assessment"


def material(completion: str, record: Record) -> Material | str:
    """What an evaluator grades, or why this completion cannot be graded.

    The reference is the answer part of the record's own response. The annotators' labels go with it where the row has
    them: its column ``details``, else the thought of its response, whose lines are those labels.
    """
    task = graded_task(record)
    if task is None:
        return f"judge '{record.judge.type}' has no rubric"
    thinks = record.judge.chain_of_thought
    reference = split_response(record.response or "", thinks)
    if reference.answer is None:
        return "the record has no reference answer"
    given = split_response(completion, thinks)
    if given.answer is None:
        return given.problem or "no answer"
    labels = "\n".join(label_line(entry) for entry in record.meta.get("details") or []) or reference.thinking
    return Material(task, record.prompt, reference.answer, given.answer, labels)


def label_line(detail: Mapping[str, Any]) -> str:
    """One structured label of ``data.example.Detail`` as text: ``distortion duration (clip a): 0 s - 3.3 s``."""
    span = f"{detail['start']:g} s - {detail['end']:g} s" if detail.get("start") is not None else None
    score = f"{detail['score']:g}" if detail.get("score") is not None else None
    values = [_PREFERENCES.get(detail.get("verdict") or ""), score, detail.get("text"), span]
    clip = f" (clip {detail['clip']})" if detail.get("clip") else ""
    return f"{detail['name']}{clip}: {', '.join(value for value in values if value)}"
