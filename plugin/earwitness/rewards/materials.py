"""From a completion and its record to what an evaluator needs to grade it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earwitness.rewards.criteria import Material, Task

if TYPE_CHECKING:
    from earwitness.data.records import Record

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def graded_task(record: Record) -> Task | None:
    """Which rubrics apply to a record: None for real/fake detection, which has an exact answer instead."""
    kind = record.judge.kind
    if "fake" in record.judge.labels:
        return None
    if kind.name == "speecheval_suggestion":
        return "Suggestion"
    return "Comparison" if kind.clips == 2 else "Assessment"


def final_answer(completion: str, chain_of_thought: bool) -> tuple[str | None, str | None]:
    """The answer without its thinking, or None and why there is none.

    A judge that thinks must put its answer between ``<answer>`` and ``</answer>``, behind the end of its thought; one
    that does not think answers with the whole completion.
    """
    if not chain_of_thought:
        return (completion.strip(), None) if completion.strip() else (None, "the completion is empty")
    _, closed, rest = completion.partition("</think>")
    if not closed:
        return None, "the completion has no </think>"
    if "<answer>" not in rest:
        return None, "the completion has no <answer> part"
    found = _ANSWER.search(rest)
    if found is None:
        return None, "the <answer> part has no end"
    answer = found.group(1).strip()
    return (answer, None) if answer else (None, "the <answer> part is empty")


def material(completion: str, record: Record) -> Material | str:
    """What an evaluator grades, or why this completion cannot be graded.

    The reference is the answer part of the record's own response. The annotators' labels go with it where the row has
    them: its column ``details``, else the thought of its response, whose lines are those labels.
    """
    task = graded_task(record)
    if task is None:
        return f"judge '{record.judge.type}' has no rubric"
    thinks = record.judge.chain_of_thought
    reference = final_answer(record.response or "", thinks)[0]
    if reference is None:
        return "the record has no reference answer"
    answer, missing = final_answer(completion, thinks)
    if answer is None:
        return missing or "the completion has no answer"
    return Material(task, record.prompt, reference, answer, _labels(record))


def _labels(record: Record) -> str | None:
    details = record.meta.get("details") or []
    lines = [_line(detail) for detail in details]
    if not lines and record.judge.chain_of_thought:
        thought = _THOUGHT.search(record.response or "")
        lines = thought.group(1).strip().splitlines() if thought else []
    return "\n".join(lines) or None


def _line(detail: Mapping[str, Any]) -> str:
    """One structured label as text: ``distortion duration (clip a): 0 s - 3.3 s``."""
    span = f"{detail['start']:g} s - {detail['end']:g} s" if detail.get("start") is not None else None
    score = f"{detail['score']:g}" if detail.get("score") is not None else None
    preference = {"first": "A is better than B", "second": "B is better than A", "tie": "A and B are similar"}
    values = [preference.get(detail.get("verdict") or ""), score, detail.get("text"), span]
    clip = f" (clip {detail['clip']})" if detail.get("clip") else ""
    return f"{detail['name']}{clip}: {', '.join(value for value in values if value)}"
