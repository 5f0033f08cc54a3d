"""SpeechEval rows (ms-swift JSONL): ``{key, task, messages, audios}``, with ``solution`` in rows for GRPO.

The user message holds one ``<audio>`` a clip. The assistant's answer, where there is one, is ``<think>...</think>``
and ``<answer>...</answer>``, or plain text. A row may carry structured label lines in ``labels`` or ``context`` (a
text or a list). Clips name language and system (the paper's source): ``zh_Aishell3_tacotron2_SSB03390029.wav``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from earwitness.data.converters.fields import (
    NO_OPTIONS,
    Options,
    Row,
    audio,
    audio_name,
    choice,
    column,
    safe,
    unlabelled,
)
from earwitness.data.converters.item import Audio, Item, Task, new_item, stable_id
from earwitness.data.converters.label_lines import preference_of, read_label_lines, read_thinking, scores_of
from earwitness.errors import RowError, shorten
from earwitness.judges.speecheval_lines import SCALE

TASKS: Mapping[str, Task] = {
    "SingleEval": "assess",
    "CompareEval": "compare",
    "Suggest": "suggest",
    "FakeDetection": "detect",
}
LANGUAGES = {"en": "en", "zh": "zh", "ja": "ja", "jp": "ja", "fr": "fr"}
"""The language that a key begins with."""

_SOLUTION = re.compile(r"^\s*<task>(.*?)</task>(.*)$", re.DOTALL)
_STRUCTURED = re.compile(r"^\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*$", re.DOTALL)
_TAGGED = re.compile(r"</?(?:think|answer)>")
_KEY = re.compile(r"^([a-z]{2})_(.+)_[^_]+$")
_KNOWN = {"key", "task", "messages", "audios", "solution", "labels", "context"}


class Answer(NamedTuple):
    """The parts of an answer; ``thinking`` is None when it has no tags."""

    thinking: str | None
    text: str


def speecheval(row: Row, options: Options = NO_OPTIONS) -> Item:
    """Convert one SpeechEval row.

    The verdict of a pair is the line ``Overall Quality`` of its labels or its thinking; the score of a clip likewise.

    Raises:
        RowError: an unknown task, placeholders that do not match the clips, an answer with half a tag, a label that
            is not real or fake, a label line that cannot be read, or no answer where one is needed.
    """
    prompt, answered = read_messages(column(row, "messages"), options)
    task_name, reference = _task(row, options)
    if answered is None and reference is not None:
        answered = safe(reference, "solution", options, tags=True)
    audios = read_audios(row, prompt, options)
    key = row.get("key")
    if key is not None and (not isinstance(key, str) or not key.strip()):
        raise RowError(f"column 'key' holds {shorten(repr(key))}; allowed: a text", value=key)
    return judged_item(
        format="speecheval",
        key=key,
        task=TASKS[task_name],
        audios=audios,
        prompt=prompt,
        answer=None if answered is None else split_answer(answered),
        context=_context(row, options),
        options=options,
        extra={name: value for name, value in row.items() if name not in _KNOWN},
    )


def judged_item(
    *,
    format: str,
    key: str | None,
    task: Task,
    audios: list[Audio],
    prompt: str,
    answer: Answer | None,
    context: str | None,
    options: Options,
    extra: Mapping[str, Any],
    prediction: dict[str, Any] | None = None,
) -> Item:
    """Put an item together from a SpeechEval question and its answer.

    Shared with ms-swift results, so that both have the same id: the task and the key, else a hash of the question.
    """
    details = read_label_lines(context or "")
    if answer is not None and answer.thinking:
        named = {(entry["name"], entry["clip"]) for entry in details}
        details = details + [
            entry for entry in read_thinking(answer.thinking) if (entry["name"], entry["clip"]) not in named
        ]
    verdict = None
    if task == "detect" and answer is not None:
        verdict = choice(answer.text.casefold(), "answer", {"real": "real", "fake": "fake"})
    elif task == "compare":
        verdict = preference_of(details)
    if answer is None and verdict is None:
        if prediction is None:
            unlabelled("messages", options, "an assistant message or a 'solution'")
        else:
            unlabelled("labels", options, "the reference text; the assistant's message is the model's own answer")
    scores = scores_of(details) if task == "assess" else None
    languages, systems = zip(*(_origin(clip) for clip in audios), strict=True)
    language = options.language or (languages[0] if len(set(languages)) == 1 else None)
    return new_item(
        id=f"{task}:{key}" if key else stable_id(task, prompt, *map(audio_name, audios)),
        task=task,
        audios=audios,
        format=format,
        source=options.source or "SpeechEval",
        key=key,
        aspect="overall quality" if task in ("assess", "compare") else None,
        verdict=verdict,
        score=scores["overall quality"] if scores else None,
        scores=scores,
        scale=SCALE if task == "assess" else None,
        prompt=prompt,
        thinking=(answer.thinking or None) if answer else None,
        answer=answer.text if answer and task != "detect" else None,
        language=language,
        systems=systems,
        details=details,
        context=context,
        prediction=prediction,
        extra=extra,
    )


def read_messages(messages: object, options: Options) -> tuple[str, str | None]:
    """The user's message and the assistant's, None when there is none; a system message does not count.

    Raises:
        RowError: not one user message followed by at most one of the assistant.
    """
    if isinstance(messages, str):  # Parquet and CSV exports hold JSON text
        try:
            messages = json.loads(messages)
        except ValueError:
            raise RowError(f"column 'messages' holds {shorten(messages)!r}; allowed: a list of messages") from None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RowError(f"column 'messages' holds {shorten(repr(messages))}; allowed: a list of messages")
    turns = [message for message in messages if message.get("role") != "system"]
    roles = [str(message.get("role")) for message in turns]
    texts = [message.get("content") for message in turns]
    if roles not in (["user"], ["user", "assistant"]) or not all(isinstance(text, str) for text in texts):
        raise RowError(
            f"column 'messages' has the roles {', '.join(roles) or 'none'}; allowed: one user message with text, then "
            "at most one of the assistant",
            value=", ".join(roles),
        )
    prompt = str(texts[0])
    safe(prompt.replace("<audio>", ""), "messages", options)
    answer = str(texts[1]) if len(texts) == 2 else ""
    return prompt, safe(answer, "messages", options, tags=True) if answer.strip() else None


def read_audios(row: Row, prompt: str, options: Options) -> list[Audio]:
    """The clips of a row, as many as its prompt has placeholders.

    Raises:
        RowError: their numbers differ; names both.
    """
    clips = column(row, "audios")
    clips = [clips] if isinstance(clips, str) else clips
    if not isinstance(clips, list) or not clips:
        raise RowError(f"column 'audios' holds {shorten(repr(clips))}; allowed: a list of clips", value=clips)
    audios = [audio(clip, "audios", options) for clip in clips]
    placeholders = prompt.count("<audio>")
    if placeholders != len(audios):
        raise RowError(
            f"the prompt has {placeholders} <audio> placeholder(s), but 'audios' holds {len(audios)} clip(s)"
        )
    return audios


def split_answer(text: str) -> Answer:
    """Split ``<think>...</think> <answer>...</answer>``; a text without any of these tags is an answer as it is.

    Raises:
        RowError: some tags are there, but not all four in this order; or the answer is empty.
    """
    if structured := _STRUCTURED.match(text):
        thinking, answer = structured[1].strip(), structured[2].strip()
        if not _TAGGED.search(thinking) and not _TAGGED.search(answer) and answer:
            return Answer(thinking, answer)
    elif not _TAGGED.search(text):
        return Answer(None, text.strip())
    raise RowError(
        f"the answer {shorten(text)!r} is not whole; allowed: '<think>...</think>', then '<answer>...</answer>' with a "
        "text between the tags, or text without tags",
        value=text,
    )


def _task(row: Row, options: Options) -> tuple[str, str | None]:
    """The task's name, and the reference of a ``solution``."""
    name, reference = row.get("task") or options.task, None
    if solution := row.get("solution"):
        parts = _SOLUTION.match(solution) if isinstance(solution, str) else None
        if not parts:
            raise RowError(
                f"column 'solution' holds {shorten(repr(solution))}; allowed: '<task>T</task>' and the reference",
                value=solution,
            )
        if name and parts[1].strip() != name:
            raise RowError(f"column 'solution' is of task '{parts[1].strip()}', but 'task' is '{name}'", value=parts[1])
        name, reference = parts[1].strip(), parts[2].strip() or None
    if name not in TASKS:
        raise RowError(f"column 'task' holds {shorten(repr(name))}; allowed: {', '.join(TASKS)}", value=name)
    return str(name), reference


def _context(row: Row, options: Options) -> str | None:
    """The structured label lines of a row, one below the other."""
    lines: list[str] = []
    for name in ("labels", "context"):
        value = row.get(name) or []
        if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise RowError(f"column '{name}' holds {shorten(repr(value))}; allowed: a text, or a list of lines", value)
        lines += value.splitlines() if isinstance(value, str) else value
    return safe("\n".join(lines), "context", options) or None


def _origin(clip: Audio) -> tuple[str | None, str | None]:
    """Language and system of a clip, by the naming rule of SpeechEval; both None for other names.

    What stands between language and utterance is the corpus of real speech (Aishell3) or the synthesis (CosyVoice,
    Aishell3_tacotron2); the paper calls both a source.
    """
    parts = _KEY.match(posixpath.splitext(posixpath.basename(audio_name(clip)))[0])
    if not parts or parts[1] not in LANGUAGES:
        return None, None
    return LANGUAGES[parts[1]], parts[2]
