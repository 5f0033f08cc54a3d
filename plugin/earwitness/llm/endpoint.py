"""Where an OpenAI-compatible server is and how hard it may be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from earwitness.errors import UserError

GUIDANCE = ("auto", "json_schema", "vllm", "none")


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server, and the limits under which it is asked.

    Attributes:
        base_url: up to and without ``/chat/completions``, e.g. ``http://127.0.0.1:8000/v1``.
        model: the model's name on that server.
        api_key_env: name of the environment variable that holds the key. The key itself is read at each call and is
            kept nowhere: not here, not in a log, not in the cache.
        concurrency: requests in flight at once. Several training processes share it (see ``shared``).
        attempts: tries for one request, the first included.
        attempt_timeout, deadline: seconds for one attempt from connection to last byte, and for one request with all
            its attempts and waits.
        backoff, max_backoff: first wait and longest wait between attempts, in seconds; the wait doubles and a random
            half of it is dropped. A ``Retry-After`` of the server goes before both.
        reasks: further tries where the reply came but is empty or unreadable.
        guidance: how ``choices`` and ``schema`` are enforced. ``json_schema``: OpenAI ``response_format`` (schema
            only). ``vllm``: that, and ``structured_outputs.choice`` for choices (vLLM 0.11 or later). ``none``: not at
            all. ``auto``: ``json_schema``, and ``none`` (with one warning) after a server has refused it.
        cache_dir: folder of the request cache, or None. Safe for many processes at once.
        prompt_price, completion_price: price of a million tokens, for ``Usage.cost``.
        budget: once ``Usage.cost`` has reached it nothing more is asked; needs the prices.
        extra_body: fields added to each request body, e.g. ``{"chat_template_kwargs": {"enable_thinking": false}}``.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 64
    attempts: int = 6
    attempt_timeout: float = 120.0
    deadline: float = 600.0
    backoff: float = 0.5
    max_backoff: float = 30.0
    reasks: int = 1
    guidance: str = "auto"
    cache_dir: str | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0
    budget: float | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"base_url: '{self.base_url}' is no address; write e.g. http://127.0.0.1:8000/v1")
        if parts.username is not None or parts.password is not None:
            raise UserError("base_url: holds a user name or password; put the key in a variable named by api_key_env")
        if not self.model:
            raise UserError("model: must name a model of the server, but is empty")
        if self.guidance not in GUIDANCE:
            raise UserError(f"guidance: '{self.guidance}' is unknown; allowed: {', '.join(GUIDANCE)}")
        for name in ("concurrency", "attempts"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}: must be at least 1, but is {getattr(self, name)}")
        for name in ("attempt_timeout", "deadline"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: must be more than 0 seconds, but is {getattr(self, name)}")
        for name in ("backoff", "max_backoff", "reasks", "prompt_price", "completion_price"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}: must not be negative, but is {getattr(self, name)}")
        if self.budget is not None and not (self.prompt_price or self.completion_price):
            raise UserError("budget: needs prompt_price or completion_price, or no cost can be counted")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "evaluator") -> Endpoint:
        """Read the fields from a YAML or JSON object; ``where`` is named in errors.

        Raises:
            UserError: an unknown field, a missing one, or a value out of range.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(f"{where}: unknown field '{unknown[0]}'; allowed: {', '.join(sorted(known))}")
        for name in ("base_url", "model"):
            if not isinstance(values.get(name), str):
                raise UserError(f"{where}: needs '{name}', a text")
        for item in fields(cls):
            value = values.get(item.name)
            if item.type in ("int", "float", "float | None") and value is not None:
                allowed = (int,) if item.type == "int" else (int, float)
                if not isinstance(value, allowed) or isinstance(value, bool):
                    raise UserError(f"{where}: '{item.name}' must be a number, but is {value!r}")
        try:
            return cls(**values)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    def api_key(self) -> str | None:
        """The key now in the environment, or None where none is asked for.

        Raises:
            UserError: the named variable is not set or empty.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise UserError(f"api_key_env: the environment variable {self.api_key_env} is not set")
        return key

    def shared(self, processes: int) -> int:
        """Requests in flight that one of ``processes`` equal processes may have: its share, at least 1."""
        return max(1, self.concurrency // processes)
