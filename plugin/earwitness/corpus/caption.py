"""Descriptions of speech quality by an expert text LLM that sees the ratings of a clip and never hears it (ALLD).

Source: Audio Large Language Models Can Be Descriptive Speech Quality Evaluators (ICLR 2025) and its README; prompts in
``templates/alld_expert``. For each clip a description and a second, diverse one; for each pair an A/B analysis whose
summary must name the clip with the higher mos. A text that fails its check or was never given is a ``Failure`` with its
reason, not a text.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from earwitness.errors import UserError
from earwitness.llm.chat import Chat, ChatRequest, Failure, Reply
from earwitness.llm.prompts import render

LOWEST, HIGHEST = 1.0, 5.0
SPEECH_A, SPEECH_B = "[SpeechA]", "[SpeechB]"
MOS_TOLERANCE = 0.1
"""How far the mos that a description ends in may be from the clip's: experts round."""

Caption = str | Failure
Progress = Callable[[str, int, int], None]
"""Called with what is asked for, how many are done and how many there are."""


@dataclass(frozen=True)
class Ratings:
    """The five factors of ALLD, each 1 to 5, higher is better: overall quality, and freedom from noise, coloration,
    discontinuity and wrong loudness.
    """

    mos: float
    noi: float
    col: float
    dis: float
    loud: float

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Ratings:
        """Read the factors from a row or a JSON object; other keys do not count.

        Raises:
            UserError: a factor is missing, no number, or outside 1 to 5; names ``where``, factor and value.
        """
        numbers = {}
        for item in fields(cls):
            value = values.get(item.name)
            try:
                number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError):
                number = math.nan
            if not LOWEST <= number <= HIGHEST:
                found = "is missing" if value is None else f"is {value!r}"
                raise UserError(f"{where}: '{item.name}' must be a number from 1 to 5, but {found}")
            numbers[item.name] = number
        return cls(**numbers)

    def to_json(self) -> str:
        """The factors as the expert reads them."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Clip:
    """A clip to describe: a stable id, its file (for the training set; never read here), its ratings."""

    id: str
    audio: str
    ratings: Ratings


@dataclass(frozen=True)
class Pair:
    """Two clips to compare, SpeechA and SpeechB."""

    id: str
    a: Clip
    b: Clip

    @property
    def winner(self) -> str | None:
        """``[SpeechA]`` or ``[SpeechB]``, whichever has the higher mos; None where both are equal."""
        difference = self.a.ratings.mos - self.b.ratings.mos
        return None if difference == 0 else SPEECH_A if difference > 0 else SPEECH_B


@dataclass(frozen=True)
class Description:
    """Two texts about one clip."""

    first: Caption
    diverse: Caption


@dataclass(frozen=True)
class Comparison:
    """An analysis of a pair and its summary, which agrees with the mos; both are the same Failure otherwise."""

    analysis: Caption
    summary: Caption


@dataclass(frozen=True)
class Sampling:
    """How the expert writes. The README gives the second description's values; the first's are the seed's defaults.

    Attributes:
        temperature, top_p: of descriptions and analyses.
        diverse_temperature, diverse_top_p: of second descriptions.
        max_tokens: room for one text; a text that needs more is a failure.
        tries: how often a text that fails its check is asked for.
    """

    temperature: float = 1.0
    top_p: float = 0.9
    diverse_temperature: float = 1.1
    diverse_top_p: float = 0.9
    max_tokens: int = 1024
    tries: int = 3


class Captioner:
    """Asks an expert for descriptions and comparisons, all clips at once.

    Args:
        chat: the expert. With a cache, a run that was cut off asks only for what is missing, and texts stay the same.
        sampling: see ``Sampling``.
        progress: see ``Progress``.
    """

    def __init__(self, chat: Chat, sampling: Sampling | None = None, progress: Progress | None = None) -> None:
        self.chat = chat
        self.sampling = sampling or Sampling()
        self._progress = progress or (lambda what, done, total: None)

    def describe(self, clips: Sequence[Clip]) -> list[Description]:
        """Describe every clip twice, in order. Each text ends in the clip's mos, and the two texts differ."""
        how = self.sampling
        requests = [
            self._request(
                render("alld_expert/mos", metrics=clip.ratings.to_json()),
                f"description {clip.id}",
                functools.partial(_wrong_description, mos=clip.ratings.mos, other=None),
            )
            for clip in clips
        ]
        firsts = self._texts("descriptions", requests, how.tries)
        second = [
            replace(
                request,
                temperature=how.diverse_temperature,
                top_p=how.diverse_top_p,
                accept=functools.partial(
                    _wrong_description, mos=clip.ratings.mos, other=first if isinstance(first, str) else None
                ),
            )
            for request, first, clip in zip(requests, firsts, clips, strict=True)
        ]
        diverse = self._texts("diverse descriptions", second, how.tries)
        return [Description(*texts) for texts in zip(firsts, diverse, strict=True)]

    def compare(self, pairs: Sequence[Pair]) -> list[Comparison]:
        """Compare every pair, in order. An analysis whose summary names the other clip is asked for anew.

        Raises:
            UserError: a pair of equal mos, which has no winner.
        """
        for pair in pairs:
            if pair.winner is None:
                raise UserError(
                    f"pair '{pair.id}': both clips have mos {pair.a.ratings.mos:g}, and the A/B prompt needs a winner; "
                    "leave the pair out"
                )
        results: dict[int, Comparison] = {}
        asked: dict[int, list[ChatRequest]] = {index: [] for index in range(len(pairs))}
        left = list(asked)
        for attempt in range(self.sampling.tries):
            for index, (comparison, requests) in zip(
                left, self._compare_once([pairs[index] for index in left], attempt), strict=True
            ):
                results[index] = comparison
                asked[index] += requests
            left = [index for index in left if _worth_another_try(results[index].summary)]
        # The cache holds these analyses, which looked fine by themselves; the next run must not meet them again.
        self.chat.forget([request for index in left for request in asked[index]])
        return [results[index] for index in range(len(pairs))]

    def _compare_once(self, pairs: Sequence[Pair], attempt: int) -> list[tuple[Comparison, list[ChatRequest]]]:
        """One try for each pair: what came of it, and what was asked."""
        requests = [
            self._request(
                render("alld_expert/ab", metrics_a=pair.a.ratings.to_json(), metrics_b=pair.b.ratings.to_json()),
                f"analysis {pair.id} {attempt}",
            )
            for pair in pairs
        ]
        analyses = self._texts("A/B analyses", requests, 1)
        written = {index: _summary(requests[index], one) for index, one in enumerate(analyses) if isinstance(one, str)}
        summaries = dict(zip(written, self._texts("summaries", list(written.values()), 1), strict=True))
        results = []
        for index, (pair, analysis) in enumerate(zip(pairs, analyses, strict=True)):
            summary = summaries.get(index, analysis)
            named = summary if isinstance(summary, Failure) else _speech(summary)
            if named == pair.winner:
                comparison = Comparison(analysis, named)
            else:
                reason = named if isinstance(named, Failure) else _contradiction(pair, named)
                comparison = Comparison(reason, reason)
            results.append((comparison, [requests[index], *([written[index]] if index in written else [])]))
        return results

    def _request(self, prompt: str, name: str, accept: Callable[[str], str | None] | None = None) -> ChatRequest:
        """A request whose seed depends on ``name``, so that clips of equal ratings get texts of their own."""
        how = self.sampling
        return ChatRequest.user(
            prompt,
            temperature=how.temperature,
            top_p=how.top_p,
            max_tokens=how.max_tokens,
            seed=int(hashlib.sha256(name.encode()).hexdigest()[:7], 16),
            accept=accept,
        )

    def _texts(self, what: str, requests: Sequence[ChatRequest], tries: int) -> list[Caption]:
        """Ask until every text passes its check, each try with a seed of its own; at most ``tries`` times."""
        texts: dict[int, Caption] = {}
        left = list(range(len(requests)))
        for attempt in range(tries):
            asked = [replace(requests[i], seed=(requests[i].seed or 0) + attempt) for i in left]
            report = _Report(self._progress, what, len(requests) - len(left), len(requests))
            for index, answer in zip(left, self.chat.ask_all(asked, report) if asked else [], strict=True):
                texts[index] = answer.text.strip() if isinstance(answer, Reply) else answer
            left = [index for index in left if _worth_another_try(texts[index])]
        return [texts[index] for index in range(len(requests))]


class _Report:
    """Counts answers as they come, for ``Progress``."""

    def __init__(self, progress: Progress, what: str, done: int, total: int) -> None:
        self.progress, self.what, self.done, self.total = progress, what, done, total

    def __call__(self, index: int, result: Reply | Failure) -> None:
        self.done += 1
        self.progress(self.what, self.done, self.total)


def _worth_another_try(text: Caption) -> bool:
    """Whether a text failed its check, as opposed to a server that failed."""
    return isinstance(text, Failure) and text.kind in ("unreadable", "empty")


def _summary(request: ChatRequest, analysis: str) -> ChatRequest:
    """The second question of the conversation; greedy, because it is a check."""
    messages = (
        *request.messages,
        {"role": "assistant", "content": analysis},
        {"role": "user", "content": render("alld_expert/ab_summary")},
    )
    return ChatRequest(messages, max_tokens=16, choices=(SPEECH_A, SPEECH_B), accept=_no_speech)


_SPEECH = re.compile(r"\A[\W_]*Speech\s?([AB])[\W_]*\Z", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d(?:\.\d+)?(?!\w|\.\d)")
_OF_SCALE = re.compile(r"(?:\b1\s*(?:-|–|to)|/|\bof)\s*5(?:\.0+)?\b")  # "3.4/5", "out of 5", "from 1 to 5"
_ENDING = 300  # characters in which a description must state the mos


def _speech(summary: str) -> str:
    found = _SPEECH.match(summary)
    assert found is not None, "summaries are accepted only when they match"
    return f"[Speech{found.group(1).upper()}]"


def _no_speech(text: str) -> str | None:
    return None if _SPEECH.match(text) else f"neither {SPEECH_A} nor {SPEECH_B}: {text.strip()[:40]!r}"


def _contradiction(pair: Pair, named: str) -> Failure:
    message = f"the summary says {named}, but the mos are A {pair.a.ratings.mos:g}, B {pair.b.ratings.mos:g}"
    return Failure("unreadable", message, attempts=1)


def _wrong_description(text: str, mos: float, other: str | None) -> str | None:
    """Why a description cannot be used: it does not end in its clip's mos, or is the ``other`` one again."""
    if text.strip() == other:
        return "the same text as the first description"
    numbers = _NUMBER.findall(_OF_SCALE.sub("", text.strip()[-_ENDING:]))
    if numbers and abs(float(numbers[-1]) - mos) <= MOS_TOLERANCE + 1e-9:
        return None
    return f"the description does not end in the mos {mos:g}"
