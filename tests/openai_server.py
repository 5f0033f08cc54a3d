"""A real OpenAI-compatible chat server on loopback that can be told to fail, for tests and benchmarks.

    with OpenAIServer(answer=lambda body: "7") as server:
        server.script = [Status(429, {"Retry-After": "0"}), Text("7")]   # the first requests, in order of arrival
        ... server.url ... server.requests ... server.peak

Run as a program it serves until its standard input closes: ``python openai_server.py --latency 0.05``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Text:
    """A chat completion."""

    text: str | None
    finish: str = "stop"
    prompt_tokens: int = 10
    completion_tokens: int = 5


@dataclass(frozen=True)
class Status:
    """An HTTP status with an OpenAI error body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "told to fail"


@dataclass(frozen=True)
class Raw:
    """A 200 with these bytes as its body."""

    body: bytes


@dataclass(frozen=True)
class Cut:
    """A 200 that ends in the middle of its body: the connection closes early."""

    text: str = "cut"


@dataclass(frozen=True)
class Hangup:
    """The connection closes without a byte."""


@dataclass(frozen=True)
class Slow:
    """A good answer of which one byte comes every ``interval`` seconds."""

    text: str
    interval: float


@dataclass(frozen=True)
class Wait:
    """``then``, after ``seconds``."""

    seconds: float
    then: Any


Behaviour = Text | Status | Raw | Cut | Hangup | Slow | Wait


class OpenAIServer:
    """Serves ``POST <anything>/chat/completions`` from a thread of its own.

    Attributes:
        answer: body of a request -> the reply's text or a behaviour; may be replaced at any time.
        script: behaviours of the next requests, before ``answer`` is asked again.
        latency: seconds before every answer.
        requests: bodies received, in order of arrival; ``headers`` the headers beside them.
        peak: most requests that were in flight at once.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str | Behaviour] = lambda body: "ok",
        script: Sequence[Behaviour] = (),
        latency: float = 0.0,
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.script = list(script)
        self.latency = latency
        self.port = port
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.peak = 0
        self._flying = 0
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Die now: requests in flight lose their connection, new ones find no server."""
        with contextlib.suppress(RuntimeError):  # it is dead already
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in head.split("\r\n"))}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.requests.append(body)
                self.headers.append(headers)
                self._flying += 1
                self.peak = max(self.peak, self._flying)
                try:
                    keep = await self._act(self._behaviour(body), writer)
                finally:
                    self._flying -= 1
                if not keep:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _behaviour(self, body: dict[str, Any]) -> Behaviour:
        chosen = self.script.pop(0) if self.script else self.answer(body)
        return Text(chosen) if isinstance(chosen, str) else chosen

    async def _act(self, behaviour: Behaviour, writer: asyncio.StreamWriter) -> bool:
        if self.latency:
            await asyncio.sleep(self.latency)
        while isinstance(behaviour, Wait):
            await asyncio.sleep(behaviour.seconds)
            behaviour = behaviour.then
        match behaviour:
            case Text():
                writer.write(response(200, completion(behaviour)))
            case Status(status, headers, message):
                body = json.dumps({"error": {"message": message, "type": "test"}}).encode()
                writer.write(response(status, body, headers))
            case Raw(body):
                writer.write(response(200, body))
            case Cut(text):
                writer.write(response(200, completion(Text(text)))[:-20])
            case Slow(text, interval):
                data = response(200, completion(Text(text)))
                for position in range(len(data)):
                    writer.write(data[position : position + 1])
                    await writer.drain()
                    await asyncio.sleep(interval)
        await writer.drain()
        return not isinstance(behaviour, Cut | Hangup)


def completion(reply: Text) -> bytes:
    """The body of a chat completion."""
    message = {"role": "assistant", "content": reply.text}
    tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    return json.dumps(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": "served",
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
            "usage": {**tokens, "total_tokens": reply.prompt_tokens + reply.completion_tokens},
        }
    ).encode()


def response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """An HTTP/1.1 response."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} told\r\n{head}\r\n".encode() + body


def grade(body: dict[str, Any]) -> str:
    """A grade that depends on nothing but the request's text, so that two clients can be compared.

    The last paragraph of an evaluator prompt shows the JSON object to fill; each field becomes 0 to 10.
    """
    text = body["messages"][-1]["content"]
    names = re.findall(r'"(\w+)": <', text[text.rindex("{") :])
    seed = sum(text.encode())
    return json.dumps({name: (seed + 7 * position) % 11 for position, name in enumerate(names)})


def main() -> None:
    """Serve grades; print the address; stop when standard input closes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before every answer (default 0.05)")
    arguments = parser.parse_args()
    with OpenAIServer(answer=grade, latency=arguments.latency) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
