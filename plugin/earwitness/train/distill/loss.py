"""Log-probabilities of responses, and the token-level divergence between expert and judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional

from earwitness.train.distill.expert import IGNORE


@dataclass(frozen=True)
class ResponseTokens:
    """The supervised tokens of a batch, row after row.

    Attributes:
        logits: (tokens, vocabulary) float32, that predict each of them.
        targets: (tokens,) ids.
        rows: (tokens,) the row of the batch that each belongs to.
        count: rows in the batch.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    count: int

    def logps(self) -> torch.Tensor:
        """Return the log-probability of each row's response in nats, (rows,)."""
        tokens = -functional.cross_entropy(self.logits, self.targets, reduction="none")
        return tokens.new_zeros(self.count).index_add(0, self.rows, tokens)

    def lengths(self) -> torch.Tensor:
        """Return the number of tokens of each row's response, (rows,)."""
        return torch.bincount(self.rows, minlength=self.count)


def response_tokens(model: Any, network: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> ResponseTokens:
    """Run a model; the output head works on the states that predict a supervised token only.

    The Omni thinkers have no ``logits_to_keep``, and logits of a prompt of 1,500 audio tokens would take gigabytes.

    Args:
        model: as training wraps it (DDP, DeepSpeed, PEFT).
        network: the same, unwrapped.
        inputs: of its forward, without labels.
        labels: (rows, length), ``IGNORE`` where nothing is supervised.
    """
    supervised = labels[:, 1:] != IGNORE

    def cut(_module: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (arguments[0][:, :-1][supervised][None], *arguments[1:])

    handle = network.get_output_embeddings().register_forward_pre_hook(cut)
    try:
        logits = model(**inputs, return_dict=True, use_cache=False).logits[0]
    finally:
        handle.remove()
    return ResponseTokens(logits.float(), labels[:, 1:][supervised], supervised.nonzero(as_tuple=True)[0], len(labels))


def token_divergence(judge: ResponseTokens, expert: ResponseTokens, shared: int) -> torch.Tensor:
    """Compute KL(expert || judge) of the next token at every token of the responses, in nats.

    The expert's distribution is taken over the shared ids: it never writes what only the judge's vocabulary has.

    Args:
        judge: responses to its own prompt.
        expert: the same responses to its prompt, in the same order.
        shared: see ``Expert.shared``.

    Returns: (tokens,) with the judge's gradient.

    Raises:
        RuntimeError: the two do not predict the same tokens.
    """
    if not torch.equal(judge.targets, expert.targets) or not torch.equal(judge.rows, expert.rows):
        raise RuntimeError("the tokens of the responses differ between judge and expert")
    teacher = expert.logits[:, :shared].log_softmax(-1)
    student = judge.logits.log_softmax(-1)[:, :shared]
    return (teacher.exp() * (teacher - student)).sum(-1)
