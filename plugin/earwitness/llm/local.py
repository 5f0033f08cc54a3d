"""A causal language model of transformers in this process, behind the interface of the chat client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.llm.chat import ChatRequest, Failure, Reply, Usage

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnResult = Callable[[int, Reply | Failure], None]


class LocalChat:
    """Answers chat requests with a model loaded from a path or the hub; ``choices`` are enforced exactly.

    Args:
        path: folder or hub name of a causal LM whose tokenizer has a chat template.
        device: torch device; by default the first GPU, else the CPU.
        batch_size: requests generated together.

    The model is loaded at the first request and left out when this object is pickled.
    """

    def __init__(self, path: str, device: str | None = None, batch_size: int = 8) -> None:
        self.path = path
        self.device = device
        self.batch_size = batch_size
        self._usage = Usage()
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    def __repr__(self) -> str:
        return f"LocalChat({self.path!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": None}

    @property
    def usage(self) -> Usage:
        """Totals since this object was made."""
        return self._usage

    def ask_all(self, requests: Sequence[ChatRequest], on_result: OnResult | None = None) -> list[Reply | Failure]:
        """Answer every request, in order, similar lengths together.

        Raises:
            UserError: the model cannot be loaded, or its tokenizer has no chat template.
        """
        model, tokenizer = self._load()
        prompts = [_prompt(tokenizer, request) for request in requests]
        results: list[Reply | Failure | None] = [None] * len(requests)

        def end(index: int, result: Reply | Failure) -> None:
            results[index] = result
            if isinstance(result, Reply):
                tokens = {"prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens}
                self._usage = self._usage.plus(requests=1, **tokens)
            else:
                self._usage = self._usage.plus(requests=1, failed=1)
            if on_result is not None:
                on_result(index, result)

        limit = getattr(model.config, "max_position_embeddings", None)
        fitting = []
        for index, (prompt, request) in enumerate(zip(prompts, requests, strict=True)):
            room = max((len(menu) for menu in _menu(tokenizer, request)), default=request.max_tokens)
            if limit is not None and len(prompt) + room > limit:
                message = f"{len(prompt)} + {room} tokens do not fit into the model's {limit}"
                end(index, Failure("refused", message))
            else:
                fitting.append(index)
        for batch in self._batches(fitting, requests, prompts):
            start = time.monotonic()
            outputs = _generate(model, tokenizer, [prompts[i] for i in batch], [requests[i] for i in batch])
            for index, tokens in zip(batch, outputs, strict=True):
                seconds = time.monotonic() - start
                end(index, _result(tokenizer, requests[index], len(prompts[index]), tokens, self.path, seconds))
        return [result for result in results if result is not None]

    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Nothing is kept, so there is nothing to drop."""

    def _batches(
        self, indices: list[int], requests: Sequence[ChatRequest], prompts: list[list[int]]
    ) -> Iterator[list[int]]:
        """Indices of requests with equal decoding, near in length."""

        def decoding(index: int) -> tuple[float, float, int, int, bool]:
            request = requests[index]
            sample = request.sample if request.temperature else 0
            return request.temperature, request.top_p, request.max_tokens, sample, bool(request.choices)

        ordered = sorted(indices, key=lambda index: (decoding(index), len(prompts[index])))
        while ordered:
            batch = [index for index in ordered[: self.batch_size] if decoding(index) == decoding(ordered[0])]
            ordered = ordered[len(batch) :]
            yield batch

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.path)
                model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(self.path, dtype="auto")
            except (OSError, ValueError) as error:
                raise UserError(f"{self.path}: no causal language model that transformers can load: {error}") from None
            if tokenizer.chat_template is None:
                raise UserError(f"{self.path}: its tokenizer has no chat template; give an instruction-tuned model")
            if tokenizer.eos_token_id is None:
                raise UserError(f"{self.path}: its tokenizer has no end-of-text token")
            model.to(device)
            self._loaded = model.eval(), tokenizer
        return self._loaded


def _generate(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]], requests: list[ChatRequest]
) -> list[list[int]]:
    """New token ids of each prompt, the end token included where it was reached."""
    import torch
    from transformers import GenerationConfig

    first, eos = requests[0], tokenizer.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else eos
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    ends = sorted({eos, *_as_list(model.generation_config.eos_token_id)})
    sampling = {"temperature": first.temperature, "top_p": first.top_p} if first.temperature else {}
    # top_k 0: None would become transformers' own 50.
    config = GenerationConfig(
        max_new_tokens=first.max_tokens,
        do_sample=bool(first.temperature),
        top_k=0 if first.temperature else None,
        pad_token_id=pad,
        eos_token_id=ends,
        **sampling,
    )
    allowed = _menu_of(tokenizer, requests, width, eos) if first.choices else None
    devices = [model.device] if model.device.type == "cuda" else []
    # Sampling must not move the generator that training uses.
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        if first.temperature:
            torch.manual_seed((first.seed or 0) + 1_000_003 * first.sample)
        output: torch.Tensor = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, prefix_allowed_tokens_fn=allowed
        )
    rows = []
    for row in output[:, width:].tolist():
        stop = next((position for position, token in enumerate(row) if token in ends), None)
        rows.append(row if stop is None else [*row[:stop], eos])
    return rows


def _prompt(tokenizer: PreTrainedTokenizerBase, request: ChatRequest) -> list[int]:
    options = request.extra.get("chat_template_kwargs", {})
    messages = [dict(message) for message in request.messages]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **options)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _menu(tokenizer: PreTrainedTokenizerBase, request: ChatRequest) -> list[list[int]]:
    """Token ids of each choice, the end token included."""
    ends = [tokenizer.eos_token_id]
    return [[*tokenizer(choice, add_special_tokens=False)["input_ids"], *ends] for choice in request.choices]


def _as_list(value: Any) -> list[int]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _menu_of(
    tokenizer: PreTrainedTokenizerBase, requests: list[ChatRequest], width: int, eos: int
) -> Callable[[int, torch.Tensor], list[int]]:
    """For each row and what it holds so far, the tokens that lead to one of its choices."""
    menus: list[dict[tuple[int, ...], set[int]]] = []
    for request in requests:
        following: dict[tuple[int, ...], set[int]] = {}
        for tokens in _menu(tokenizer, request):
            for length, token in enumerate(tokens):
                following.setdefault(tuple(tokens[:length]), set()).add(token)
        menus.append(following)

    def allowed(row: int, ids: torch.Tensor) -> list[int]:
        return sorted(menus[row].get(tuple(ids[width:].tolist()), {eos}))

    return allowed


def _result(
    tokenizer: PreTrainedTokenizerBase,
    request: ChatRequest,
    prompt_tokens: int,
    tokens: list[int],
    model: str,
    seconds: float,
) -> Reply | Failure:
    cut = not tokens or tokens[-1] != tokenizer.eos_token_id
    if cut and not request.cut_ok:
        return Failure("truncated", f"cut off after {len(tokens)} tokens", attempts=1, seconds=seconds)
    text = str(tokenizer.decode(tokens, skip_special_tokens=True))
    if not text.strip():
        return Failure("empty", "the reply holds no text", attempts=1, seconds=seconds)
    reason = request.accept(text) if request.accept else None
    if reason is not None:
        return Failure("unreadable", reason, attempts=1, seconds=seconds)
    return Reply(text, model, prompt_tokens, len(tokens), seconds=seconds, cut=cut)
