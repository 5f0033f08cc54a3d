"""LScore and dimension extraction: a text LLM compares a judge's text with the annotators' (SpeechEval, Appendix C.2).

LScore is one number from 0 to 10 for each text. For comparisons the same reply says for each of eight dimensions
whether both texts conclude the same; for assessments a second request maps the judge's text onto the eight dimensions
(seven numbers from 1 to 5, the speech rate in five words). Prompts: ``templates/rewards``. With a cache in the client
a run that was cut off asks only for what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from earwitness.llm.chat import Chat, ChatRequest, Failure, Reply
from earwitness.llm.prompts import render
from earwitness.metrics.evaluator_text import DIMENSIONS, extract_consistency, extract_score
from earwitness.rewards.criteria import Material, json_object

OnResult = Callable[[int, Reply | Failure], None]
SPEECH_RATE = "Speech Rate"
RATES = ("slow", "slightly slow", "appropriate", "slightly fast", "fast")
_SAME_RATE = {"suitable": "appropriate", "normal": "appropriate"}
NUMERIC = tuple(name for name in DIMENSIONS if name != SPEECH_RATE)
MAX_TOKENS = 2048


@dataclass(frozen=True)
class LScore:
    """What the evaluator says of one text.

    Attributes:
        score: 0 to 10, higher is better; None when unscored.
        consistency: for comparisons dimension to "Consistent", "Inconsistent", "Fail" or None; None for other tasks.
        reply: the evaluator's text; None when there is none.
        unscored: why there is no score.
    """

    score: float | None
    consistency: dict[str, str | None] | None = None
    reply: str | None = None
    unscored: str | None = None


@dataclass(frozen=True)
class Dimensions:
    """What an assessment says of the eight dimensions; a dimension on which it is silent is None.

    Attributes:
        values: dimension to 1..5, the speech rate to one of ``RATES``; None when nothing could be extracted.
        unscored: why not.
    """

    values: dict[str, int | str | None] | None
    unscored: str | None = None


def lscore(cases: Sequence[Material | str], chat: Chat, on_result: OnResult | None = None) -> list[LScore]:
    """Score every case, in order; a text in place of a case says why there is nothing to score.

    The question to the judge is ``Material.prompt``. Replies whose score cannot be read are asked for once more, then
    unscored. ``on_result`` is called as each request ends.
    """
    asked = [case for case in cases if isinstance(case, Material)]
    replies = iter(chat.ask_all([_score_request(case) for case in asked], on_result) if asked else [])
    scores = []
    for case in cases:
        if isinstance(case, str):
            scores.append(LScore(None, unscored=case))
            continue
        reply = next(replies)
        if isinstance(reply, Failure):
            scores.append(LScore(None, unscored=str(reply)))
            continue
        consistency = extract_consistency(reply.text) if case.task == "Comparison" else None
        scores.append(LScore(extract_score(reply.text), consistency, reply.text))
    return scores


def extract_dimensions(
    answers: Sequence[str | None], chat: Chat, on_result: OnResult | None = None
) -> list[Dimensions]:
    """Map assessments in plain words onto the eight dimensions, in order; None is a missing answer.

    ``on_result`` is called as each request ends.
    """
    replies = iter(chat.ask_all([_dimension_request(answer) for answer in answers if answer is not None], on_result))
    found = []
    for answer in answers:
        reply = None if answer is None else next(replies)
        if reply is None:
            found.append(Dimensions(None, "no answer"))
        elif isinstance(reply, Failure):
            found.append(Dimensions(None, str(reply)))
        else:
            values = read_dimensions(reply.text)
            found.append(Dimensions(None, values) if isinstance(values, str) else Dimensions(values))
    return found


def _score_request(case: Material) -> ChatRequest:
    comparison = case.task == "Comparison"
    prompt = render(
        "rewards/lscore_comparison" if comparison else "rewards/lscore",
        labels=case.labels,
        question=case.prompt,
        reference=case.reference,
        answer=case.answer,
        dimensions=list(DIMENSIONS),
    )
    accept: Callable[[str], str | None] = _unread_comparison if comparison else _unread_score
    return ChatRequest.user(prompt, max_tokens=MAX_TOKENS, accept=accept)


def _unread_score(reply: str) -> str | None:
    return None if extract_score(reply) is not None else "the reply holds no score from 0 to 10"


def _unread_comparison(reply: str) -> str | None:
    missing = [name for name, value in extract_consistency(reply).items() if value is None]
    if len(missing) == len(DIMENSIONS):
        return "the reply holds no consistency of any dimension"
    return _unread_score(reply)


def _dimension_request(answer: str) -> ChatRequest:
    grade = {"type": ["integer", "null"], "minimum": 1, "maximum": 5}
    rate = {"enum": [*RATES, None]}
    schema = {
        "type": "object",
        "properties": {name: rate if name == SPEECH_RATE else grade for name in DIMENSIONS},
        "required": list(DIMENSIONS),
        "additionalProperties": False,
    }
    prompt = render(
        "rewards/dimensions", answer=answer, numeric=list(NUMERIC), dimensions=list(DIMENSIONS), rates=list(RATES)
    )
    return ChatRequest.user(prompt, max_tokens=MAX_TOKENS, schema=schema, accept=_unread_dimensions)


def _unread_dimensions(reply: str) -> str | None:
    values = read_dimensions(reply)
    return values if isinstance(values, str) else None


def read_dimensions(reply: str) -> dict[str, int | str | None] | str:
    """Read the JSON object of ``dimensions.jinja`` strictly: the values, or why there are none.

    Every dimension must be there: an integer from 1 to 5, the speech rate one of ``RATES`` ("suitable" and "normal" are
    read as "appropriate"), or null.
    """
    found = json_object(reply)
    if isinstance(found, str):
        return found
    values: dict[str, int | str | None] = {}
    for name in DIMENSIONS:
        if name not in found:
            return f"'{name}' is missing"
        value = found[name]
        if value is None:
            values[name] = None
        elif name == SPEECH_RATE:
            word = " ".join(str(value).casefold().replace("-", " ").split())
            values[name] = _SAME_RATE.get(word, word)
            if values[name] not in RATES:
                return f"'{name}' must be one of {', '.join(RATES)}, but is {json.dumps(value)[:40]}"
        elif isinstance(value, int | float) and not isinstance(value, bool) and value in (1, 2, 3, 4, 5):
            values[name] = int(value)
        else:
            return f"'{name}' must be an integer from 1 to 5, but is {json.dumps(value)[:40]}"
    return values
