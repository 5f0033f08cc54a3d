"""Taking a response apart: thought, answer, and why there is no answer to read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from earwitness.errors import shorten

_TAG = re.compile(r"<(/?)(think|answer)>", re.IGNORECASE)
_CONTROL = re.compile(r"<\|[^<>|\n]{0,64}\|>")


@dataclass(frozen=True)
class Sections:
    """Attributes: ``answer`` and ``thinking`` as text, ``problem`` when there is no answer."""

    answer: str | None
    thinking: str | None = None
    problem: str | None = None


def split_response(text: Any, thinks: bool) -> Sections:
    """Separate ``<think>`` and ``<answer>`` of a response; nothing that is thought counts as answered.

    Args:
        text: what the model wrote; tags in any case, a missing ``<think>`` before ``</think>`` was in the prompt. None
            and NaN are missing answers, other numbers count as their digits, other values are no text.
        thinks: whether the judge must put its answer between ``<answer>`` tags. Without, tags are read where the
            response has them, else the answer is all that follows the thought.

    Returns: stripped texts. There is no answer when a tag is not closed (the response was cut off), the ``<answer>`` is
        missing, empty, or there are several that differ.
    """
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return Sections(None, problem="no answer")
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(int(text)) if float(text).is_integer() else repr(text)
    if not isinstance(text, str):
        return Sections(None, problem=f"not text: {shorten(repr(text))}")
    text = _CONTROL.sub("", text)
    tags = [(match[1] + match[2].lower(), match.start(), match.end()) for match in _TAG.finditer(text)]
    closed = [start for name, start, _ in tags if name == "/think"]
    thinking = None
    if closed:
        opened = [end for name, _, end in tags if name == "think" and end <= closed[-1]]
        thinking = text[opened[0] if opened else 0 : closed[-1]].strip() or None
        tags = [tag for tag in tags if tag[1] > closed[-1]]
    if any(name == "think" for name, _, _ in tags):
        return Sections(None, thinking, "<think> is not closed")
    start = closed[-1] + len("</think>") if closed else 0
    answers, opened_at = [], None
    for name, tag_start, tag_end in tags:
        if name == "answer":
            opened_at = tag_end
        elif opened_at is not None:
            answers.append(text[opened_at:tag_start].strip())
            opened_at = None
    if opened_at is not None:
        return Sections(None, thinking, "<answer> is not closed")
    if not answers:
        if thinks:
            return Sections(None, thinking, "no <answer> part")
        answers = [text[start : tags[0][1] if tags else len(text)].strip()]
    if len(set(answers)) > 1:
        return Sections(None, thinking, f"{len(answers)} <answer> parts that differ")
    return Sections(answers[0], thinking) if answers[0] else Sections(None, thinking, "the answer is empty")
