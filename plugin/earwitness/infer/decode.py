"""Prefill, greedy and sampled decoding, and menu scoring over a key-value cache that sequences share where they can.

Written out instead of ``model.generate`` because a judge needs what that hides: the prompt's cache stays for scoring
labels, sequences that begin alike are computed once, every sample has its own random stream, and no generation default
of a checkpoint (sampling, repetition penalty) can slip into a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from earwitness.infer.menu import LabelShares, Menu, Path
from earwitness.infer.model import JudgeModel

MIN_SHARED = 32
"""Beginnings of fewer tokens are not shared."""

MIN_SAVED = 0.2
"""Share of a batch's tokens that sharing must save to be worth a second pass."""


@dataclass(frozen=True)
class Prompt:
    """One encoded prompt.

    Attributes:
        ids: token ids, audio tokens in place.
        clips: (tokens, hidden) audio embeddings, in the order of the prompt.
        clip_keys: what tells the clips apart; equal keys mean equal embeddings.
    """

    ids: np.ndarray
    clips: tuple[torch.Tensor, ...]
    clip_keys: tuple[str, ...]


@dataclass
class Sequences:
    """A batch of sequences whose keys and values are cached.

    Attributes:
        cache: keys and values.
        mask: (B, L) 1 for tokens, 0 for padding.
        positions: (B,) position of each next token.
        logits: (B, V) float32 scores of each next token.
    """

    cache: DynamicCache
    mask: torch.Tensor
    positions: torch.Tensor
    logits: torch.Tensor

    def repeat(self, times: int) -> Sequences:
        """Give every sequence ``times`` copies, copies side by side."""
        if times > 1:
            self.cache.batch_repeat_interleave(times)
        return Sequences(
            self.cache, *(part.repeat_interleave(times, 0) for part in (self.mask, self.positions, self.logits))
        )

    def rewind(self, start: Sequences) -> Sequences:
        """Forget everything after ``start``, which was a state of the same cache."""
        self.cache.crop(start.mask.shape[1])
        return start


@torch.inference_mode()
def prefill(model: JudgeModel, prompts: Sequence[Prompt]) -> Sequences:
    """Compute the prompts; what neighbours have in common at their beginning is computed once.

    Raises:
        RuntimeError: a prompt's audio tokens are not as many as its audio embeddings.
    """
    embedded = [_embed(model, prompt) for prompt in prompts]
    groups, shared = shared_beginnings([_key(model, prompt) for prompt in prompts])
    cache = DynamicCache()
    if not any(shared):
        hidden, mask, positions = _extend(model, cache, embedded, None, None)
    else:
        firsts = [group[0] for group in groups]
        beginnings = [embedded[first][:length] for first, length in zip(firsts, shared, strict=True)]
        _, mask, positions = _extend(model, cache, beginnings, None, None)
        member = torch.tensor([number for number, group in enumerate(groups) for _ in group], device=model.device)
        cache.batch_select_indices(member)
        rests = [embedded[row][length:] for group, length in zip(groups, shared, strict=True) for row in group]
        hidden, mask, positions = _extend(model, cache, rests, mask[member], positions[member])
    return Sequences(cache, mask, positions, model.logits(hidden))


def _embed(model: JudgeModel, prompt: Prompt) -> torch.Tensor:
    ids = torch.from_numpy(prompt.ids).to(model.device)
    embeddings = model.embed_tokens(ids[None])[0]
    places = (ids == model.audio_token_id).nonzero()[:, 0]
    given = sum(len(clip) for clip in prompt.clips)
    if len(places) != given:
        raise RuntimeError(
            f"{', '.join(prompt.clip_keys)}: the prompt holds {len(places)} audio tokens but the clips give {given} "
            "embeddings"
        )
    if given:
        embeddings = embeddings.index_copy(0, places, torch.cat(prompt.clips).to(embeddings.dtype))
    return embeddings


def _key(model: JudgeModel, prompt: Prompt) -> list[Any]:
    """Token ids with each audio token replaced by the clip it belongs to."""
    owners = iter([key for key, clip in zip(prompt.clip_keys, prompt.clips, strict=True) for _ in range(len(clip))])
    return [next(owners) if token == model.audio_token_id else token for token in prompt.ids.tolist()]


def shared_beginnings(keys: Sequence[Sequence[Any]]) -> tuple[list[range], list[int]]:
    """Split neighbours into groups that begin alike.

    Args:
        keys: one comparable sequence a row, at least two elements long; rows that may share next to each other.

    Returns: ranges of rows, and how many elements the first pass computes once for each: what the group shares, or all
        but the last element of a row alone. All zero where sharing would save less than ``MIN_SAVED``.
    """
    groups: list[range] = []
    shared: list[int] = []
    for row, key in enumerate(keys):
        # At least one element stays for the second pass, which gives the logits of the next token.
        common = min(_common(keys[row - 1], key), shared[-1], len(key) - 1) if groups else 0
        if common >= max(MIN_SHARED, len(key) // 2):
            groups[-1], shared[-1] = range(groups[-1].start, row + 1), common
        else:
            groups.append(range(row, row + 1))
            shared.append(len(key) - 1)
    saved = sum((len(group) - 1) * length for group, length in zip(groups, shared, strict=True))
    if saved < MIN_SAVED * sum(map(len, keys)):
        shared = [0] * len(groups)
    return groups, shared


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _extend(
    model: JudgeModel,
    cache: DynamicCache,
    rows: Sequence[torch.Tensor],
    mask: torch.Tensor | None,
    positions: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run rows of embeddings (n_i, hidden) after what is cached.

    Rows are padded on the right: what is causal cannot see its padding, so the first pass needs no mask, and attention
    kernels are faster without. Later passes mask the gaps.

    Returns: the last hidden state of each row (B, hidden), the mask of all that is cached, the next positions (B,).
    """
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    batch = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    steps = torch.arange(batch.shape[1], device=model.device)
    new = (steps < lengths[:, None]).long()
    places = steps.expand(len(rows), -1)
    if mask is not None and positions is not None:
        places = positions[:, None] + places
    hidden = model.hidden_states(batch, None if mask is None else torch.cat([mask, new], 1), places, cache)
    last = hidden[torch.arange(len(rows), device=model.device), lengths - 1]
    return last, new if mask is None else torch.cat([mask, new], 1), places[:, 0] + lengths


@torch.inference_mode()
def generate(
    model: JudgeModel,
    sequences: Sequences,
    pick: Callable[[torch.Tensor], torch.Tensor],
    *,
    max_new_tokens: int,
    stop: Sequence[int],
    forbidden: torch.Tensor,
) -> list[list[int]]:
    """Decode until every sequence has stopped.

    Args:
        model: the judge.
        sequences: where to go on; its cache grows, and ``sequences.rewind`` undoes that.
        pick: logits (B, V) to token ids (B,).
        max_new_tokens: the most tokens of one answer.
        stop: ids that end an answer; not part of it.
        forbidden: (V,) bool, ids that are never picked.

    Returns: the new ids of each sequence.
    """
    logits, mask, positions = sequences.logits, sequences.mask, sequences.positions
    answers: list[list[int]] = [[] for _ in range(len(mask))]
    running = [True] * len(answers)
    for step in range(max_new_tokens):
        tokens = pick(logits.masked_fill(forbidden, -torch.inf))
        for row, token in enumerate(tokens.tolist()):
            running[row] = running[row] and token not in stop
            if running[row]:
                answers[row].append(token)
        if not any(running) or step + 1 == max_new_tokens:
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        embeddings = model.embed_tokens(tokens[:, None])
        hidden = model.hidden_states(embeddings, mask, positions[:, None], sequences.cache)
        logits, positions = model.logits(hidden[:, -1]), positions + 1
    return answers


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Pick the likeliest token of each row."""
    return logits.argmax(-1)


class Sampler:
    """Draw tokens, each row from a random stream of its own, so that batch-mates do not change what a row draws."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        """Start one stream a row.

        Args:
            seeds: one a row.
            temperature: above 0.
            top_p: in (0, 1]; 1 draws from the whole vocabulary.
        """
        self._streams = [np.random.default_rng(seed) for seed in seeds]
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Pick one token of each row: logits (B, V) to ids (B,)."""
        shares, ids = (logits / self._temperature).softmax(-1).sort(stable=True, dim=-1, descending=True)
        sums = shares.double().cumsum(-1)
        kept = sums - shares < self._top_p
        total = sums.masked_fill(~kept, 0.0).amax(-1)
        draws = torch.tensor([stream.random() for stream in self._streams], dtype=torch.double, device=logits.device)
        places = torch.searchsorted(sums, (draws * total)[:, None], right=True)
        last = kept.sum(-1, keepdim=True) - 1
        return ids.gather(-1, places.minimum(last))[:, 0]


@torch.inference_mode()
def score_menus(
    model: JudgeModel, sequences: Sequences, contexts: Sequence[Sequence[int]], menus: Sequence[Menu]
) -> list[LabelShares]:
    """Score each sequence's menu after what it wrote so far.

    Args:
        model: the judge.
        sequences: at the end of the prompts.
        contexts: ids that each sequence wrote before its verdict.
        menus: one a sequence.

    Returns: the labels' shares, one a sequence.
    """
    known: list[dict[Path, torch.Tensor]] = [
        {} if context else {(): logits.log_softmax(-1)}
        for context, logits in zip(contexts, sequences.logits, strict=True)
    ]
    for number in range(max(len(menu.probes) for menu in menus)):
        blocks = [
            _probe(context, menu, number, scored) for context, menu, scored in zip(contexts, menus, known, strict=True)
        ]
        if any(blocks):
            _score_blocks(model, sequences, blocks, contexts, known)
    return [
        menu.shares(lambda node, token, scored=scored: float(scored[node][token]))  # type: ignore[misc]
        for menu, scored in zip(menus, known, strict=True)
    ]


def _probe(context: Sequence[int], menu: Menu, number: int, scored: dict[Path, Any]) -> list[int]:
    """Tokens to run for one sequence in this round; none where everything on that branch is known."""
    probe = menu.probes[number] if number < len(menu.probes) else menu.probes[0]
    return [] if probe in scored else [*context, *probe]


def _score_blocks(
    model: JudgeModel,
    sequences: Sequences,
    blocks: Sequence[Sequence[int]],
    contexts: Sequence[Sequence[int]],
    known: Sequence[dict[Path, torch.Tensor]],
) -> None:
    """Run right-padded blocks after the prompts, note the scores after each node, and take the blocks back."""
    longest = max(map(len, blocks))
    ids = torch.tensor([[*block, *[0] * (longest - len(block))] for block in blocks], device=model.device)
    lengths = torch.tensor([len(block) for block in blocks], device=model.device)
    steps = torch.arange(longest, device=model.device)
    new = (steps < lengths[:, None]).long()
    hidden = model.hidden_states(
        model.embed_tokens(ids),
        torch.cat([sequences.mask, new], 1),
        sequences.positions[:, None] + steps,
        sequences.cache,
    )
    sequences.rewind(sequences)
    nodes = [
        (row, end, tuple(block[len(context) : end]))
        for row, (block, context) in enumerate(zip(blocks, contexts, strict=True))
        for end in range(max(len(context), 1), len(block) + 1)
    ]
    rows, ends, _ = zip(*nodes, strict=True)
    # One product for all: the output head of a large model takes as long for one state as for many.
    scores = model.logits(hidden[list(rows), [end - 1 for end in ends]]).log_softmax(-1)
    for (row, _, node), scored in zip(nodes, scores, strict=True):
        known[row][node] = scored
