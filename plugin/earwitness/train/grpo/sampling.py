"""Sampling completions: one prefill a prompt, one random stream a completion.

A completion depends on its prompt, its stream and the weights; not on the process that samples it, nor on the rest of
the batch. So a resumed run repeats what the interrupted one would have done, and two processes do what one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from earwitness.infer.decode import Prompt, Sequences, generate, prefill
from earwitness.infer.model import JudgeModel


@dataclass(frozen=True)
class Sampling:
    """How to sample.

    Attributes:
        temperature, top_p, top_k: see ``GrpoArguments``.
        max_new_tokens: the most tokens of a completion, its end token included.
        end: id that ends a completion.
        forbidden: (vocabulary,) bool; ids that are never sampled, see ``forbidden_ids``.
    """

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    end: int
    forbidden: torch.Tensor


def forbidden_ids(tokenizer: Any, vocabulary: int) -> torch.Tensor:
    """Mark ids that no completion may hold: special tokens but the end of sequence, and ids without a token.

    Later forward passes would take a sampled audio token for a clip.

    Returns: (vocabulary,) bool.
    """
    forbidden = torch.zeros(vocabulary, dtype=torch.bool)
    forbidden[len(tokenizer) :] = True
    special = [id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special]
    forbidden[[id_ for id_ in special if id_ < vocabulary]] = True
    forbidden[tokenizer.eos_token_id] = False
    return forbidden


class Streams:
    """Draws the next token of each row from the row's own stream."""

    def __init__(self, seeds: Sequence[Sequence[int]], sampling: Sampling) -> None:
        self._streams = [np.random.default_rng(list(seed)) for seed in seeds]
        self._sampling = sampling

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Pick one token of each row: logits (B, V) to ids (B,)."""
        top = self._sampling.top_k or logits.shape[-1]
        values, ids = (logits.float() / self._sampling.temperature).sort(stable=True, dim=-1, descending=True)
        shares = values[:, :top].double().softmax(-1)
        sums = shares.cumsum(-1)
        kept = (sums - shares < self._sampling.top_p) & (shares > 0)
        total = sums.masked_fill(~kept, 0.0).amax(-1)
        draws = torch.tensor([stream.random() for stream in self._streams], dtype=torch.double, device=logits.device)
        places = torch.searchsorted(sums, (draws * total)[:, None], right=True)
        last = kept.sum(-1, keepdim=True) - 1
        return ids.gather(-1, places.minimum(last))[:, 0]


class _RoomyLayer(DynamicLayer):
    """Keys and values of one layer with room for all that will be written: no token copies those before it."""

    def __init__(self, layer: Any, rows: torch.Tensor, room: int) -> None:
        """Take the chosen rows of a filled layer, each (heads, cached, size), and leave ``room`` places after them."""
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._places = tuple(
            torch.nn.functional.pad(states[rows], (0, 0, 0, room)) for states in (layer.keys, layer.values)
        )
        self._show(layer.keys.shape[-2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (places[:, :, :length] for places in self._places)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states of new tokens (B, heads, n, size); return all up to them."""
        start, new = self.get_seq_length(), key_states.shape[-2]
        for places, states in zip(self._places, (key_states, value_states), strict=True):
            places[:, :, start : start + new] = states
        self._show(start + new)
        return self.keys, self.values


def _share_out(cache: DynamicCache, rows: torch.Tensor, room: int) -> DynamicCache:
    """Give every completion its prompt's part of a cache."""
    for number, layer in enumerate(cache.layers):
        cache.layers[number] = _RoomyLayer(layer, rows, room)
    return cache


@torch.inference_mode()
def sample(
    model: JudgeModel,
    prompts: Sequence[Prompt],
    owners: Sequence[int],
    seeds: Sequence[Sequence[int]],
    sampling: Sampling,
) -> list[list[int]]:
    """Sample completions.

    Args:
        model: the policy in evaluation mode.
        prompts: each once.
        owners: the prompt of each completion.
        seeds: of each completion's stream; whole numbers, together unique in a run.
        sampling: see there.

    Returns: ids of each completion; the last one is ``sampling.end`` unless it was cut at ``max_new_tokens``.
    """
    start = prefill(model, prompts)
    rows = torch.tensor(list(owners), device=model.device)
    cache = _share_out(start.cache, rows, sampling.max_new_tokens)
    sequences = Sequences(cache, start.mask[rows], start.positions[rows], start.logits[rows])
    answers = generate(
        model,
        sequences,
        Streams(seeds, sampling),
        max_new_tokens=sampling.max_new_tokens,
        stop=(sampling.end,),
        forbidden=sampling.forbidden.to(model.device),
    )
    return [answer if len(answer) == sampling.max_new_tokens else [*answer, sampling.end] for answer in answers]
