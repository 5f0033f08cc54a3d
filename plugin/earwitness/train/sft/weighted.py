"""SFT with a weighted chain of thought (SpeechLLM-as-Judges, section 4.2, equation 1).

    L = (lambda * sum_i S_dim_i + S_answer) / N

S_dim_i is the summed cross entropy of the tokens of the i-th line between ``<think>`` and ``</think>``, S_answer that
of every other supervised token, N the number of supervised tokens of the optimizer step: of all its micro-batches and
processes, so that neither gradient accumulation nor processes change the gradient. With lambda = 1 and one batch a step
this is plain SFT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError

if TYPE_CHECKING:
    import torch

IGNORE = -100
ANSWER, NAMELESS = 0, 1
"""Parts of a response: its answer, and lines of its thought that name no dimension. Dimensions follow."""

_THINKING = re.compile(r"<think>((?:(?!<think>).)*?)</think>", re.DOTALL)
_LONGEST_NAME = 40
"""Characters before the colon of a line that are still a dimension's name, not a sentence."""


class ThoughtReader:
    """Finds the lines of the chain of thought in token ids."""

    def __init__(self, tokenizer: Any) -> None:
        """Take the model's tokenizer; any byte-level or SentencePiece vocabulary."""
        self._tokenizer = tokenizer
        self._decoded = lru_cache(maxsize=1 << 16)(lambda ids: tokenizer.decode(list(ids)))  # lines recur

    def __call__(self, labels: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
        """Number the parts of each response.

        Args:
            labels: (batch, length) token ids, ``IGNORE`` where nothing is supervised.

        Returns: (batch, length) int64, the part of each token; the names of the parts from 2 on, the dimensions:
            what stands before the colon of a line. Both clips' lines of one dimension are one part. The tags themselves
            belong to the answer: they are format, not a judgement. A token belongs to the line in which it starts, so
            a tag that shares a token with the first line does not hide that line.
        """
        import torch

        parts = torch.full_like(labels, ANSWER)
        numbers = {"": NAMELESS}
        for row, ids in enumerate(labels.tolist()):
            for line in self._lines(ids):
                head, colon, _ = self._decoded(tuple(ids[place] for place in line)).partition(":")
                name = " ".join(head.split()).lower()
                named = colon and len(name) <= _LONGEST_NAME
                parts[row, line] = numbers.setdefault(name if named else "", len(numbers) + 1)
        return parts, list(numbers)[1:]

    def _lines(self, ids: list[int]) -> Iterator[list[int]]:
        """Yield the places of each line's tokens."""
        places = [place for place, token in enumerate(ids) if token != IGNORE]
        pieces = self._tokenizer.convert_ids_to_tokens([ids[place] for place in places])
        blocks = [match.span(1) for match in _THINKING.finditer("".join(pieces))]  # several where rows are packed
        line: list[int] = []
        offset = 0
        for place, piece in zip(places, pieces, strict=True):
            inside = any(start <= offset < end for start, end in blocks)
            offset += len(piece)
            if inside:
                line.append(place)
            if line and (not inside or "\n" in self._decoded((ids[place],))):
                yield line
                line = []


def weighted_loss(
    logits: torch.Tensor, labels: torch.Tensor, parts: torch.Tensor, weight: float, items: torch.Tensor | int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute equation 1 and its terms.

    Args:
        logits: (batch, length, vocabulary).
        labels: (batch, length), ``IGNORE`` where nothing is supervised.
        parts: (batch, length) from ``ThoughtReader``.
        weight: lambda.
        items: N, where these labels are not all of the step.

    Returns: the loss; (parts, 2) float32, the summed cross entropy in nats and the tokens of each part.
    """
    import torch
    import torch.nn.functional as functional

    # Same shift and precision as transformers' ForCausalLMLoss, so that weight 1 differs by nothing.
    targets = functional.pad(labels, (0, 1), value=IGNORE)[..., 1:]
    parts = functional.pad(parts, (0, 1), value=ANSWER)[..., 1:]
    supervised = targets != IGNORE
    entropy = functional.cross_entropy(logits[supervised].float(), targets[supervised], reduction="none")
    parts = parts[supervised]
    inside = parts != ANSWER
    count = torch.as_tensor(len(entropy) if items is None else items, device=entropy.device).clamp(min=1)
    loss = (weight * entropy[inside].sum() + entropy[~inside].sum()) / count
    terms = torch.stack([entropy.detach(), torch.ones_like(entropy)], dim=1)
    size = int(parts.max()) + 1 if len(parts) else 0
    return loss, terms.new_zeros(size, 2).index_add(0, parts, terms)


class WeightedChainOfThought:
    """Mixin for the host's SFT trainer: uses ``cot_loss_weight`` where it is not 1 and logs each term.

    Logged are mean cross entropies in nats a token since the last log, over all processes: ``loss_answer``,
    ``loss_thinking`` and, for each dimension that the thought names, ``loss_thinking/<name>``.
    """

    finetuning_args: Any
    args: Any
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sums: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        if self.finetuning_args.cot_loss_weight != 1.0:
            if self.args.label_smoothing_factor > 0:
                raise UserError("cot_loss_weight: cannot be combined with label_smoothing_factor; remove one")
            self._thoughts = ThoughtReader(self.processing_class)  # type: ignore[attr-defined]
            self.compute_loss_func = self._weighted_loss  # with it the host's trainer counts the tokens of a step

    def _weighted_loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        parts, names = self._thoughts(labels)
        weight = self.finetuning_args.cot_loss_weight
        loss, terms = weighted_loss(outputs.logits, labels, parts, weight, num_items_in_batch)
        if self.model.training:
            thinking = "loss_thinking"
            titles = [("loss_answer",), (thinking,), *((thinking, f"{thinking}/{name}") for name in names)]
            for (total, tokens), counted in zip(terms.tolist(), titles, strict=False):
                for title in counted:
                    self._sums[title] += total
                    self._tokens[title] += tokens
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the terms to a training log. Every process calls it."""
        if "loss" in logs and self.compute_loss_func == self._weighted_loss:
            from accelerate.utils import gather_object

            sums, tokens = Counter[str](), Counter[str]()
            for mine, counts in gather_object([(self._sums, self._tokens)]):
                sums.update(mine)
                tokens.update(counts)
            logs.update({name: sums[name] / tokens[name] for name in sorted(tokens) if tokens[name]})
            self._sums, self._tokens = Counter(), Counter()
        super().log(logs, *args, **kwargs)  # type: ignore[misc]
