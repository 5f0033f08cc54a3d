"""Inference results of ms-swift: ``{response, labels, logprobs, messages, audios}``, one JSON line a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from earwitness.data.converters.fields import NO_OPTIONS, Options, Row, column, safe
from earwitness.data.converters.item import Detail, Item, Task
from earwitness.data.converters.label_lines import read_thinking
from earwitness.data.converters.speecheval import (
    TASKS,
    Answer,
    judged_item,
    read_audios,
    read_messages,
    split_answer,
)
from earwitness.errors import RowError, shorten

DETECTION_LABELS = ("real", "fake")

_KNOWN = {"response", "labels", "logprobs", "messages", "audios", "key", "task"}


def ms_swift(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one row of ms-swift inference results.

    The model's text goes to ``prediction["raw"]`` as it is, readable or not; ``labels`` is the reference. For
    detection, ``prediction["logprobs"]`` holds the log-probabilities of "real" and "fake" where the answer stands.
    The task is the row's ``task``, else the declared one, else it follows from what the row holds.

    Raises:
        RowError: no response, broken messages, clips or reference, or a task that cannot be told.
    """
    raw = column(row, "response")
    if not isinstance(raw, str):
        raise RowError(f"column 'response' holds {shorten(repr(raw))}; allowed: a text", value=raw)
    messages = column(row, "messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        # The last message repeats the response; the reference is in 'labels'.
        messages = messages[:-1] if messages[-1].get("role") == "assistant" else messages
    prompt, _ = read_messages(messages, options)
    audios = read_audios(row, prompt, options)
    labels = row.get("labels")
    if labels is not None and not isinstance(labels, str):
        raise RowError(f"column 'labels' holds {shorten(repr(labels))}; allowed: a text, or null", value=labels)
    answer = split_answer(safe(labels, "labels", options, tags=True)) if labels and labels.strip() else None
    task = _task(row, options, len(audios), answer, raw)
    logprobs = label_logprobs(row.get("logprobs"), raw) if task == "detect" else None
    return judged_item(
        format="ms_swift",
        key=row.get("key"),
        task=task,
        audios=audios,
        prompt=prompt,
        answer=answer,
        context=None,
        options=options,
        extra={name: value for name, value in row.items() if name not in _KNOWN},
        prediction={"raw": raw, "logprobs": logprobs},
    )


def _task(row: Row, options: Options, clips: int, answer: Answer | None, raw: str) -> Task:
    name = row.get("task") or options.task
    if name is not None:
        if name not in TASKS:
            raise RowError(f"column 'task' holds {shorten(repr(name))}; allowed: {', '.join(TASKS)}", value=name)
        return TASKS[name]
    if clips == 2:
        return "compare"
    try:
        said = split_answer(raw)
    except RowError:
        said = Answer(None, raw)
    if any(text.casefold() in DETECTION_LABELS for text in (answer.text if answer else "", said.text)):
        return "detect"
    details: list[Detail] = [entry for one in (answer, said) if one for entry in read_thinking(one.thinking or "")]
    if any(entry["name"] == "improvement areas" for entry in details):
        return "suggest"
    if any(entry["score"] is not None for entry in details):
        return "assess"
    raise RowError(f"does not show its task; declare it with 'task': {', '.join(TASKS)}")


def label_logprobs(
    logprobs: object, raw: str, labels: tuple[str, ...] = DETECTION_LABELS
) -> dict[str, float | None] | None:
    """The log-probability of each label as the first token of the answer, None for a label that is not listed.

    Args:
        logprobs: ms-swift's ``{"content": [{"token", "logprob", "top_logprobs": [{"token", "logprob"}]}]}``, or None.
        raw: the response that the tokens spell.
        labels: label tokens, compared as they are.

    Returns: None when there are no log-probabilities, or the tokens do not spell an answer: nothing is borrowed from
    another place or another row.

    Raises:
        RowError: ``logprobs`` is of another form.
    """
    if logprobs is None:
        return None
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content):
        raise RowError(f"column 'logprobs' holds {shorten(repr(logprobs))}; allowed: {{'content': [...]}}, or null")
    start = raw.rfind("<answer>")
    start = start + len("<answer>") if start >= 0 else 0
    start += len(raw[start:]) - len(raw[start:].lstrip())
    tokens = [str(entry.get("token", "")) for entry in content]
    if not "".join(tokens).startswith(raw[: start + 1]):
        return None
    place = 0
    for token, entry in zip(tokens, content, strict=True):
        # The first character of the answer is inside this token, after white space at most (" fake").
        if place <= start < place + len(token) and not token[: start - place].strip():
            return _listed(entry, labels)
        place += len(token)
    return None


def _listed(entry: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = dict.fromkeys(labels)
    for candidate in [entry, *(entry.get("top_logprobs") or [])]:
        token, logprob = candidate.get("token"), candidate.get("logprob")
        if token in found and isinstance(logprob, int | float) and math.isfinite(logprob):
            found[token] = float(logprob)
    return found
