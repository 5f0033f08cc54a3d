"""The four criteria of SQ-LLM's evaluator rewards: rubric, request and strict reading of the grade.

Source: SpeechLLM-as-Judges (Wang et al. 2025), section 4.3 and Appendix B.4. An evaluator gives an integer s_k in
0..10 for k in helpfulness, relevance, accuracy, level of detail; r_k = s_k / 10 (equation 2) and R = sum_k w_k r_k
(equation 3) with w = 1, 1, 2, 0.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from earwitness.errors import UserError
from earwitness.judges.prompts import templates_dir
from earwitness.llm.chat import ChatRequest
from earwitness.llm.prompts import render

Task = Literal["Assessment", "Comparison", "Suggestion"]
TASKS: tuple[Task, ...] = ("Assessment", "Comparison", "Suggestion")

TITLES = {
    "helpfulness": "Helpfulness",
    "relevance": "Relevance",
    "accuracy": "Accuracy",
    "level_of_detail": "Level of Detail",
}
CRITERIA = tuple(TITLES)
WEIGHTS = {"helpfulness": 1.0, "relevance": 1.0, "accuracy": 2.0, "level_of_detail": 0.5}
MAX_GRADE = 10


@dataclass(frozen=True)
class Material:
    """What one answer is graded on.

    Attributes:
        task: which column of rubrics applies.
        prompt: what the judge was asked.
        reference: the annotators' answer.
        answer: the judge's answer, without its thinking.
        labels: the annotators' structured labels, one a line, where the data has them.
    """

    task: Task
    prompt: str
    reference: str
    answer: str
    labels: str | None = None


@lru_cache(maxsize=1)
def rubrics() -> Mapping[tuple[str, Task], str]:
    """The rubrics of Appendix B.4, ``(criterion, task)`` to text, from ``templates/rewards/rubrics.txt``.

    Raises:
        UserError: the file is missing or lacks one of the twelve.
    """
    path = templates_dir() / "rewards" / "rubrics.txt"
    if not path.is_file():
        raise UserError(f"{path}: no such file; it holds the rubrics of the evaluator rewards")
    names = {f"[{title}]": name for name, title in TITLES.items()}
    found: dict[tuple[str, Task], str] = {}
    criterion = None
    for line in path.read_text(encoding="utf-8").splitlines():
        criterion = names.get(line, criterion)
        task, _, text = line.partition(" ")
        if criterion and task in TASKS:
            found[criterion, task] = text
    missing = [f"[{TITLES[name]}] {task}" for name in CRITERIA for task in TASKS if (name, task) not in found]
    if missing:
        raise UserError(f"{path}: the rubric '{missing[0]}' is missing")
    return found


def grade_request(material: Material, criteria: Sequence[str], max_tokens: int) -> ChatRequest:
    """Ask for an integer grade of ``material`` under each of ``criteria``, in one request.

    The reply is one JSON object, ``{"<criterion>": <0..10>, ...}``; it is asked for as a schema, and for a single
    criterion also as a menu of the eleven possible texts, for engines that can hold the model to one of them.
    """
    prompt = render(
        "rewards/grade",
        task=material.task,
        prompt=material.prompt,
        labels=material.labels,
        reference=material.reference,
        answer=material.answer,
        criteria=[{"name": name, "title": TITLES[name], "rubric": rubrics()[name, material.task]} for name in criteria],
    )
    grade = {"type": "integer", "minimum": 0, "maximum": MAX_GRADE}
    schema = {
        "type": "object",
        "properties": dict.fromkeys(criteria, grade),
        "required": list(criteria),
        "additionalProperties": False,
    }
    menu = [json.dumps({criteria[0]: number}) for number in range(MAX_GRADE + 1)] if len(criteria) == 1 else []

    return ChatRequest.user(
        prompt, max_tokens=max_tokens, schema=schema, choices=tuple(menu), accept=_Accept(tuple(criteria))
    )


@dataclass(frozen=True)
class _Accept:
    """Why a reply is no grade; a class, so that requests can be pickled."""

    criteria: tuple[str, ...]

    def __call__(self, text: str) -> str | None:
        grades = read_grades(text, self.criteria)
        return grades if isinstance(grades, str) else None


_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)
_INTEGER = re.compile(r"\A([0-9]{1,2})(?:\s*/\s*10)?\Z")


def read_grades(text: str, criteria: Sequence[str]) -> dict[str, int] | str:
    """Read an evaluator's reply strictly: the grades, or why there are none.

    The reply must be the JSON object asked for, each grade an integer in 0..10. For a single criterion the bare
    integer, or ``7/10``, is read as well. Nothing is searched for inside a longer text, where a quoted answer could
    hold a number of its own.
    """
    bare = _INTEGER.match(_bare_reply(text))
    value = {criteria[0]: int(bare.group(1))} if bare and len(criteria) == 1 else json_object(text)
    if isinstance(value, str):
        return value
    grades: dict[str, int] = {}
    for name in criteria:
        grade = value.get(name)
        number = grade if isinstance(grade, int | float) and not isinstance(grade, bool) else -1
        if not (0 <= number <= MAX_GRADE and number == int(number)):
            return f"'{name}' must be an integer from 0 to {MAX_GRADE}, but is {json.dumps(grade)[:40]}"
        grades[name] = int(number)
    return grades


def json_object(text: str) -> dict[str, Any] | str:
    """The JSON object that is the whole reply, or why there is none.

    A thinking block before it and a code fence around it are dropped.
    """
    body = _bare_reply(text)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else f"the reply is no JSON object: {body[:60]!r}"


def _bare_reply(text: str) -> str:
    body = _THOUGHT.sub("", text).strip()
    fenced = _FENCE.match(body)
    return fenced.group(1).strip() if fenced else body
