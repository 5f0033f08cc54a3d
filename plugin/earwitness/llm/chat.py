"""What is asked of a text LLM and what comes back, whatever answers: a server or a model in this process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

FailureKind = Literal[
    "connection",  # the server could not be reached, or hung up
    "timeout",  # an attempt took too long
    "deadline",  # the time for all attempts ran out
    "rate_limit",  # 429 to the last attempt
    "server",  # 5xx to the last attempt, or a body that is no chat completion
    "refused",  # another 4xx: asking again would not help
    "truncated",  # the reply hit max_tokens
    "empty",  # a reply without text
    "unreadable",  # ``ChatRequest.accept`` could not use the text
    "budget",  # the budget was spent before this request
]


@dataclass(frozen=True)
class ChatRequest:
    """One chat completion to ask for.

    Attributes:
        messages: OpenAI chat messages; content is text or a list of parts (``audio_url`` ...).
        temperature, top_p, max_tokens, seed, stop: as in the OpenAI API; 0 is greedy.
        choices: the only texts allowed as a reply, where the engine can enforce it.
        schema: JSON Schema of the reply, where the engine can enforce it.
        extra: further fields of the request body (``logprobs``, ``chat_template_kwargs`` ...).
        sample: number of this sample among several of the same request; part of the cache key.
        cut_ok: whether a reply that hit ``max_tokens`` is of use as it stands; else it is a Failure.
        accept: tells why a reply's text cannot be used, or None when it can. A text it refuses is asked for again,
            then becomes a Failure; it never enters the cache.
    """

    messages: tuple[Mapping[str, Any], ...]
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0
    cut_ok: bool = False
    accept: Callable[[str], str | None] | None = field(default=None, compare=False)

    @classmethod
    def user(cls, text: str, **options: Any) -> ChatRequest:
        """A request of one user message."""
        return cls(messages=({"role": "user", "content": text},), **options)

    def body(self) -> dict[str, Any]:
        """The fields of an OpenAI request body that the request itself decides: no model, no guidance."""
        body: dict[str, Any] = {
            "messages": [dict(message) for message in self.messages],
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            **self.extra,
        }
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stop:
            body["stop"] = list(self.stop)
        return body

    def key(self, *engine: str) -> str:
        """SHA-256 over the canonical request and what identifies the engine; holds no credential."""
        canonical = {
            "engine": engine,
            "body": self.body(),
            "choices": self.choices,
            "schema": self.schema,
            "sample": self.sample,
            **({"cut_ok": True} if self.cut_ok else {}),
        }
        text = json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Reply:
    """A complete, accepted reply. ``cached`` ones cost nothing now; tokens are those of the first time.

    ``cut`` ones hit ``max_tokens``; they come where ``ChatRequest.cut_ok`` asks for them.
    """

    text: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 1
    seconds: float = 0.0
    cached: bool = False
    logprobs: Any = None
    cut: bool = False


@dataclass(frozen=True)
class Failure:
    """No usable reply: why, after how many attempts and how long. Never holds a text to be used in its place."""

    kind: FailureKind
    message: str
    attempts: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class Usage:
    """Running totals. ``retries`` are attempts beyond the first; ``cost`` is in the currency of the prices given."""

    requests: int = 0
    cached: int = 0
    retries: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def plus(self, **counts: float) -> Usage:
        """These totals with ``counts`` added."""
        return Usage(**{**vars(self), **{name: getattr(self, name) + count for name, count in counts.items()}})


class Chat(Protocol):
    """Anything that answers chat requests: ``ChatClient`` over HTTP, ``LocalChat`` in this process."""

    @property
    def usage(self) -> Usage:
        """Totals since this object was made."""

    def ask_all(
        self, requests: Sequence[ChatRequest], on_result: Callable[[int, Reply | Failure], None] | None = None
    ) -> list[Reply | Failure]:
        """Answer every request, in order. ``on_result(index, result)`` is called as each one ends."""

    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Drop what a cache holds of these requests: their replies proved of no use, and are to be asked for anew."""
