"""The client of OpenAI-compatible chat servers.

aiohttp carries the requests: it comes with the host (through ``datasets``), and at 64 requests in flight it spends
half the processor time of httpx, on which the openai package is built as well. What is ours is the part that decides:
what is asked again and when, when to give up, and that a failure is a value with a reason.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from earwitness.llm.cache import RequestCache
from earwitness.llm.chat import ChatRequest, Failure, FailureKind, Reply, Usage
from earwitness.llm.endpoint import Endpoint

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger(__name__)

RETRIED_STATUS = (408, 409, 425, 429)  # and every 5xx
MAX_BODY = 32 * 2**20  # bytes of a reply that are read at most
OnResult = Callable[[int, Reply | Failure], None]

_jitter = random.Random()  # its own state: waiting must not move the generator that training seeds
_counting = threading.Lock()


class _Problem(Exception):  # noqa: N818 - control flow of one attempt, never leaves this module
    """An attempt that gave no usable reply."""

    def __init__(self, kind: FailureKind, message: str, again: bool, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.again = again
        self.wait = wait


class ChatClient:
    """Asks an OpenAI-compatible server, many requests at a time.

    One object may be used from any thread, from plain code or inside a running event loop, pickled, and taken across a
    fork: it holds no connection between calls.

    Args:
        endpoint: server, limits, cache.
        processes: how many equal processes share the endpoint's concurrency (the world size in training).
    """

    def __init__(self, endpoint: Endpoint, processes: int = 1) -> None:
        self.endpoint = endpoint
        self.concurrency = endpoint.shared(processes)
        self._cache = RequestCache(endpoint.cache_dir) if endpoint.cache_dir else None
        self._guided = endpoint.guidance != "none"
        self._usage = Usage()

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint.model!r} at {self.endpoint.base_url!r})"

    @property
    def usage(self) -> Usage:
        """Totals since this object was made."""
        return self._usage

    def ask_all(self, requests: Sequence[ChatRequest], on_result: OnResult | None = None) -> list[Reply | Failure]:
        """``ask_all_async`` for code that is not a coroutine; inside a running loop it blocks that loop meanwhile."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.ask_all_async(requests, on_result))
        with ThreadPoolExecutor(1, thread_name_prefix="chat-client") as pool:
            return pool.submit(lambda: asyncio.run(self.ask_all_async(requests, on_result))).result()

    async def ask_all_async(
        self, requests: Sequence[ChatRequest], on_result: OnResult | None = None
    ) -> list[Reply | Failure]:
        """Answer every request, in order; equal requests are asked once.

        Args:
            requests: what to ask.
            on_result: called with ``(index, result)`` as each one ends, in the loop's thread.

        Raises:
            UserError: the key's variable is not set, or the cache cannot be written. Whatever the server does ends in
                a Failure of its request instead.
        """
        import aiohttp

        key = self.endpoint.api_key()
        same: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            same.setdefault(self._key(request), []).append(index)
        results: list[Reply | Failure | None] = [None] * len(requests)
        waiting = iter(same.items())
        connector = aiohttp.TCPConnector(limit=self.concurrency)
        timeout = aiohttp.ClientTimeout(total=self.endpoint.attempt_timeout)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            line = _Line(session, self.endpoint, key)

            async def worker() -> None:
                for digest, indices in waiting:
                    result = await self._answer(line, digest, requests[indices[0]])
                    for index in indices:
                        results[index] = result
                        if on_result is not None:
                            on_result(index, result)

            workers = [asyncio.create_task(worker()) for _ in range(min(self.concurrency, len(same)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for task in workers:
                    task.cancel()
        return [result for result in results if result is not None]

    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Drop what the cache holds of these requests."""
        if self._cache is not None:
            for request in requests:
                self._cache.drop(self._key(request))

    def _key(self, request: ChatRequest) -> str:
        return request.key(self.endpoint.base_url, self.endpoint.model)

    async def _answer(self, line: _Line, digest: str, request: ChatRequest) -> Reply | Failure:
        if self._cache is not None:
            reply = self._cache.get(digest)
            if reply is not None and (request.accept is None or request.accept(reply.text) is None):
                self._add(cached=1)
                return reply
        endpoint = self.endpoint
        if endpoint.budget is not None and self._usage.cost >= endpoint.budget:
            self._add(failed=1)
            return Failure("budget", f"the budget of {endpoint.budget:g} is spent")
        start = time.monotonic()
        tries: list[_Problem] = []
        result: Reply | Failure
        try:
            async with asyncio.timeout(endpoint.deadline):
                result = await self._try(line, request, tries)
        except TimeoutError:
            last = f"; the last one: {tries[-1]}" if tries else ""
            message = f"no usable reply within {endpoint.deadline:g} s, after {len(tries)} failed attempts{last}"
            result = Failure("deadline", message, attempts=len(tries))
        result = replace(result, seconds=time.monotonic() - start)
        self._count(result)
        if isinstance(result, Reply) and self._cache is not None:
            self._cache.put(digest, result)
        return result

    async def _try(self, line: _Line, request: ChatRequest, tries: list[_Problem]) -> Reply | Failure:
        endpoint = self.endpoint
        while True:
            await line.open()
            try:
                reply = await line.attempt(self._body(request))
                if reply.cut and not request.cut_ok:
                    raise _Problem("truncated", f"cut off after {reply.completion_tokens} tokens", again=False)
                if not reply.text.strip():
                    raise _Problem("empty", "the reply holds no text", again=True)
                reason = request.accept(reply.text) if request.accept else None
                if reason is not None:
                    raise _Problem("unreadable", reason, again=True)
                return replace(reply, attempts=len(tries) + 1)
            except _Problem as problem:
                if problem.kind == "refused" and self._drop_guidance(request, str(problem)):
                    continue
                tries.append(problem)
                useless = sum(one.kind in ("empty", "unreadable") for one in tries)
                if not problem.again or len(tries) >= endpoint.attempts or useless > endpoint.reasks:
                    return Failure(problem.kind, str(problem), attempts=len(tries))
                logger.debug("attempt %d failed, asking again: %s: %s", len(tries), problem.kind, problem)
                wait = min(endpoint.max_backoff, endpoint.backoff * 2 ** (len(tries) - 1)) * _jitter.uniform(0.5, 1.0)
                if problem.wait is not None:
                    if problem.wait > endpoint.deadline:
                        message = f"the server asks for a wait of {problem.wait:g} s, beyond the deadline: {problem}"
                        return Failure(problem.kind, message, attempts=len(tries))
                    line.pause(problem.wait)
                    wait = problem.wait + _jitter.uniform(0, endpoint.backoff)
                await asyncio.sleep(wait)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body = {**self.endpoint.extra_body, **request.body(), "model": self.endpoint.model}
        if not self._guided:
            return body
        if request.choices and self.endpoint.guidance == "vllm":
            body["structured_outputs"] = {"choice": list(request.choices)}
        elif request.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _drop_guidance(self, request: ChatRequest, message: str) -> bool:
        """Whether a refusal was about guidance, under ``auto``: then it is left out from here on."""
        names = ("response_format", "json_schema", "json schema", "structured", "guided")
        guided = self.endpoint.guidance == "auto" and request.schema is not None
        if not guided or not any(name in message.lower() for name in names):
            return False
        if self._guided:
            self._guided = False
            logger.warning("%s does not take a JSON schema (%s); going on without", self.endpoint.base_url, message)
        return True

    def _count(self, result: Reply | Failure) -> None:
        if isinstance(result, Failure):
            self._add(failed=1, retries=max(0, result.attempts - 1))
            return
        prompt, completion = result.prompt_tokens, result.completion_tokens
        cost = (prompt * self.endpoint.prompt_price + completion * self.endpoint.completion_price) / 1e6
        self._add(prompt_tokens=prompt, completion_tokens=completion, retries=result.attempts - 1, cost=cost)

    def _add(self, **counts: float) -> None:
        with _counting:
            self._usage = self._usage.plus(requests=1, **counts)


class _Line:
    """The connections of one ``ask_all`` call, and the pause a busy server asked all of them for."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint, key: str | None) -> None:
        self._session = session
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._timeout = endpoint.attempt_timeout
        self._key = key
        self._proxy = _proxy_for(self._url)
        self._closed_until = 0.0

    def pause(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    async def open(self) -> None:
        while (wait := self._closed_until - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def attempt(self, body: dict[str, Any]) -> Reply:
        """One HTTP exchange. Redirects are not followed: they would carry the key to another place."""
        import aiohttp

        try:
            async with self._session.post(self._url, json=body, allow_redirects=False, proxy=self._proxy) as response:
                raw = await self._read(response)
                status, headers = response.status, response.headers
        except TimeoutError:
            raise _Problem("timeout", f"no complete answer within {self._timeout:g} s", again=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Problem("connection", self._clean(f"{type(error).__name__}: {error}"), again=True) from None
        if status == 200:
            return self._reply(raw)
        message = self._clean(f"status {status}: {_error_text(raw)}")
        if status in RETRIED_STATUS or status >= 500:
            kind: FailureKind = "rate_limit" if status == 429 else "server"
            raise _Problem(kind, message, again=True, wait=_retry_after(headers.get("Retry-After")))
        raise _Problem("refused", message, again=False)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in response.content.iter_chunked(2**16):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise _Problem("server", f"the answer is longer than {MAX_BODY} bytes", again=False)
        return b"".join(chunks)

    def _reply(self, raw: bytes) -> Reply:
        try:
            answer = json.loads(raw)
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            finish = choice.get("finish_reason")
            usage = answer.get("usage") or {}
            reply = Reply(
                text=text if text is not None else "",
                model=str(answer.get("model", "")),
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
                logprobs=choice.get("logprobs"),
                cut=finish == "length",
            )
            if not isinstance(reply.text, str):
                raise TypeError(f"content is {type(text).__name__}")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            message = self._clean(f"not a chat completion ({type(error).__name__}): {raw[:80]!r}")
            raise _Problem("server", message, again=True) from None
        if finish == "content_filter":
            raise _Problem("refused", "withheld by the server's content filter", again=False)
        return reply

    def _clean(self, message: str) -> str:
        """``message`` without the key: some servers quote it in their errors."""
        return message.replace(self._key, "***") if self._key else message


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for ``url``. Not aiohttp's ``trust_env``, which also sends ~/.netrc."""
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _error_text(raw: bytes) -> str:
    """The server's own words, shortened, from the common shapes of an error body."""
    text = raw[:2000].decode("utf-8", "replace")
    try:
        value = json.loads(raw)
        for name in ("error", "message", "detail"):
            if isinstance(value, dict) and name in value:
                value = value[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except ValueError:
        pass
    return " ".join(text.split())[:300] or "no message"


def _retry_after(value: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header: a number or an HTTP date; None where it is missing or unreadable."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
