"""The engine that asks any OpenAI-compatible server with audio input: LLaMA-Factory's own API, vLLM, others."""

from __future__ import annotations

import base64
import io
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.infer.engine import Answer, Item
from earwitness.infer.listed import label_shares
from earwitness.infer.options import Decoding
from earwitness.infer.places import menu_of
from earwitness.judges.prompts import AUDIO_PLACEHOLDER

if TYPE_CHECKING:
    from earwitness.infer.menu import LabelShares
    from earwitness.llm.chat import ChatRequest, Failure, Reply
    from earwitness.llm.endpoint import Endpoint

AUDIO_FORMS = ("audio_url", "input_audio")
"""How a server takes clips: ``audio_url`` with a data URL (LLaMA-Factory, vLLM), ``input_audio`` (OpenAI)."""

TOP_LOGPROBS = 20
"""Likeliest tokens asked for at each place; the most that OpenAI allows."""

KEPT_LENGTHS = 100_000
"""Clips whose length is remembered; a run over millions reads the header of the others again."""

_SENT_AS_THEY_ARE = {".wav": "wav", ".mp3": "mpeg"}
_SAMPLING_RATE = 16_000
_CHARS_A_TOKEN = 3
_LABEL_TOKENS = 16


class APIEngine:
    """A server, asked many requests at a time."""

    name = "api"
    alone = True

    def __init__(
        self,
        endpoint: Endpoint,
        decoding: Decoding,
        *,
        audio_form: str = "audio_url",
        logprobs: bool = False,
        max_seconds: float = 300.0,
    ) -> None:
        """Prepare a server's judge.

        Args:
            endpoint: server, model, limits.
            decoding: how to answer; ``verdict_only`` holds the answer to one line with the label.
            audio_form: one of ``AUDIO_FORMS``.
            logprobs: ask for the likeliest tokens, from which label probabilities come; not every server gives them.
            max_seconds: longer clips are refused before anything is asked.
        """
        if audio_form not in AUDIO_FORMS:
            raise UserError(f"--audio-form {audio_form!r} is unknown; allowed: {', '.join(AUDIO_FORMS)}")
        self.endpoint, self.decoding = endpoint, decoding
        self._audio_form, self._logprobs, self._max_seconds = audio_form, logprobs, max_seconds
        self._seconds: dict[str, float] = {}

    def describe(self) -> dict[str, Any]:
        """See ``Engine``. A server does not say which weights it has: its address and the model's name must do."""
        return {
            "name": self.name,
            "server": self.endpoint.base_url,
            "model": self.endpoint.model,
            "audio": self._audio_form,
            "logprobs": self._logprobs,
        }

    def label(self) -> dict[str, str]:
        """See ``Engine``."""
        return {"engine": self.name, "path": self.endpoint.model, "server": self.endpoint.base_url}

    def size(self, item: Item) -> int:
        """See ``Engine``; the prompt's own limit is the server's to know."""
        for path in item.shown.audios:
            if path not in self._seconds:
                from earwitness.audio.lengths import clip_samples

                if len(self._seconds) == KEPT_LENGTHS:
                    self._seconds.pop(next(iter(self._seconds)))
                self._seconds[path] = clip_samples(path, _SAMPLING_RATE) / _SAMPLING_RATE
            if self._seconds[path] > self._max_seconds:
                raise UserError(f"{path}: {self._seconds[path]:.2f} s, longer than --max-seconds {self._max_seconds:g}")
        seconds = sum(self._seconds[path] for path in item.shown.audios)
        return int(25 * seconds) + len(item.shown.prompt) // _CHARS_A_TOKEN

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``; every batch is one item. Requests of a window are in flight together.

        Raises:
            UserError: a whole window failed, so the server or its settings are at fault.
        """
        from earwitness.llm.client import ChatClient

        client = ChatClient(self.endpoint)
        numbered, window = iter(batches), 8 * self.endpoint.concurrency
        while chunk := list(islice(numbered, window)):
            failed: list[str] = []
            for number, answer in self._window(client, [(number, items[0]) for number, items in chunk]):
                failed += [answer.failure] if answer.failure else []
                yield number, [answer]
            if len(failed) == len(chunk):
                raise UserError(f"{self.endpoint.base_url}: all of {len(chunk)} requests failed: {failed[0]}")

    def _window(self, client: Any, asked: Sequence[tuple[int, Item]]) -> Iterator[tuple[int, Answer]]:
        """Ask about some items; yield each as soon as all its samples are there."""
        samples = self.decoding.samples
        ready: list[tuple[int, Item]] = []
        requests: list[ChatRequest] = []
        for number, item in asked:
            try:
                requests += [self._request(item, sample) for sample in range(samples)]
            except (UserError, OSError) as error:
                yield number, Answer(failure=str(error))
            else:
                ready.append((number, item))
        results: queue.Queue[tuple[int, Reply | Failure] | BaseException | None] = queue.Queue()

        def ask() -> None:
            try:
                client.ask_all(requests, lambda index, result: results.put((index, result)))
                results.put(None)
            except BaseException as error:  # handed to the thread that waits
                results.put(error)

        threading.Thread(target=ask, daemon=True).start()
        replies: dict[int, dict[int, Reply | Failure]] = {}
        while (result := results.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            place, sample = divmod(result[0], samples)
            replies.setdefault(place, {})[sample] = result[1]
            if len(replies[place]) == samples:
                number, item = ready[place]
                given = replies.pop(place)
                yield number, self._answer(item, [given[sample] for sample in range(samples)])

    def _request(self, item: Item, sample: int) -> ChatRequest:
        from earwitness.llm.chat import ChatRequest

        decoding, labels = self.decoding, tuple(menu_of(item.shown.judge).values())
        only = decoding.verdict_only
        return ChatRequest(
            messages=({"role": "user", "content": self._content(item)},),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=_LABEL_TOKENS if only else decoding.max_new_tokens,
            seed=decoding.seed + sample if decoding.temperature else None,
            stop=("\n",) if only else (),
            choices=labels if only else (),
            extra={"logprobs": True, "top_logprobs": TOP_LOGPROBS} if self._logprobs else {},
            sample=sample,
            cut_ok=True,  # as of the other engines: a verdict stands even if its rationale was cut off
        )

    def _content(self, item: Item) -> list[dict[str, Any]]:
        """Return the prompt as text and clips in turn, so that no placeholder ever travels as text."""
        parts: list[dict[str, Any]] = []
        clips = iter(item.shown.audios)
        for place, text in enumerate(item.shown.prompt.split(AUDIO_PLACEHOLDER)):
            if place:
                parts.append(self._clip(next(clips)))
            if text:
                parts.append({"type": "text", "text": text})
        return parts

    def _clip(self, path: str) -> dict[str, Any]:
        kind, content = _encoded(Path(path))
        data = base64.b64encode(content).decode()
        if self._audio_form == "input_audio":
            return {"type": "input_audio", "input_audio": {"data": data, "format": "mp3" if kind == "mpeg" else kind}}
        return {"type": "audio_url", "audio_url": {"url": f"data:audio/{kind};base64,{data}"}}

    def _answer(self, item: Item, replies: Sequence[Reply | Failure]) -> Answer:
        from earwitness.llm.chat import Failure

        texts: list[str] = []
        shares: list[LabelShares | None] = []
        for reply in replies:
            if isinstance(reply, Failure):
                # Asking again would not mend an empty reply: the row is answered, and stays unscored.
                return Answer(unscored=str(reply)) if reply.kind == "empty" else Answer(failure=str(reply))
            texts.append(reply.text)
            shares.append(label_shares(reply.text, reply.logprobs, item.shown.judge) if self._logprobs else None)
        return Answer(tuple(texts), tuple(shares))


def _encoded(path: Path) -> tuple[str, bytes]:
    """Return MIME subtype and content of a clip, as servers take it."""
    kind = _SENT_AS_THEY_ARE.get(path.suffix.lower())
    if kind is not None:
        return kind, Path(os.path.expanduser(path)).read_bytes()
    import soundfile

    from earwitness.audio.reading import read_audio

    buffer = io.BytesIO()
    soundfile.write(buffer, read_audio(path, _SAMPLING_RATE), _SAMPLING_RATE, format="WAV", subtype="FLOAT")
    return "wav", buffer.getvalue()
