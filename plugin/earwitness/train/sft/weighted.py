"""SFT with a weighted chain of thought (SpeechLLM-as-Judges, section 4.2, equation 1).

    L = (lambda * sum_i S_dim_i + S_answer) / N

S_dim_i is the summed cross entropy of the tokens of the i-th line between ``<think>`` and ``</think>``, S_answer that
of every other supervised token, N the number of supervised tokens. With lambda = 1 this is plain SFT.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORE = -100
_THINKING = re.compile(r"<think>((?:(?!<think>).)*?)</think>", re.DOTALL)


def thinking_mask(labels: torch.Tensor, tokenizer: Any) -> torch.Tensor:
    """Mark the supervised tokens of the chain of thought.

    Args:
        labels: (batch, length) token ids, ``IGNORE`` where nothing is supervised.
        tokenizer: of the model; any byte-level or SentencePiece vocabulary.

    Returns: (batch, length) bool; true for tokens that lie between ``<think>`` and ``</think>``. The two tags
        themselves belong to the answer: they are format, not a judgement. A token is judged by the text before it,
        so a tag that shares a token with the first line does not hide that line.
    """
    import torch

    mask = torch.zeros_like(labels, dtype=torch.bool)
    for row, ids in enumerate(labels.tolist()):
        positions = [index for index, token in enumerate(ids) if token != IGNORE]
        pieces = tokenizer.convert_ids_to_tokens([ids[index] for index in positions])
        text = "".join(pieces)
        blocks = [match.span(1) for match in _THINKING.finditer(text)]  # several where rows are packed
        offset = 0
        for index, piece in zip(positions, pieces, strict=True):
            mask[row, index] = any(start <= offset < end for start, end in blocks)
            offset += len(piece)
    return mask


def weighted_loss(
    logits: torch.Tensor, labels: torch.Tensor, thinking: torch.Tensor, weight: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """Compute equation 1 and its terms.

    Args:
        logits: (batch, length, vocabulary).
        labels: (batch, length), ``IGNORE`` where nothing is supervised.
        thinking: (batch, length) bool from ``thinking_mask``.
        weight: lambda.

    Returns: the loss, and the mean cross entropy in nats of each part that occurs: ``loss_thinking``,
        ``loss_answer``.
    """
    import torch.nn.functional as functional

    # Same shift and precision as transformers' ForCausalLMLoss, so that weight 1 differs by nothing.
    targets = functional.pad(labels, (0, 1), value=IGNORE)[..., 1:]
    thinking = functional.pad(thinking, (0, 1), value=False)[..., 1:]
    supervised = targets != IGNORE
    entropy = functional.cross_entropy(logits[supervised].float(), targets[supervised], reduction="none")
    inside = thinking[supervised]
    count = max(int(supervised.sum()), 1)
    loss = (weight * entropy[inside].sum() + entropy[~inside].sum()) / count
    parts = {"loss_thinking": entropy[inside], "loss_answer": entropy[~inside]}
    return loss, {name: part.detach().mean().item() for name, part in parts.items() if part.numel()}


class WeightedChainOfThought:
    """Mixin for the host's SFT trainer: uses ``cot_loss_weight`` where it is not 1 and logs both terms."""

    finetuning_args: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cot_terms: dict[str, list[float]] = {}
        if self.finetuning_args.cot_loss_weight != 1.0:
            _refuse_unsupported(self)

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """Compute the loss of one batch; see ``weighted_loss``."""
        if self.finetuning_args.cot_loss_weight == 1.0:
            return super().compute_loss(model, inputs, return_outputs=return_outputs, **kwargs)  # type: ignore[misc]
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        thinking = thinking_mask(labels, self.processing_class)  # type: ignore[attr-defined]
        loss, terms = weighted_loss(outputs.logits, labels, thinking, self.finetuning_args.cot_loss_weight)
        if self.model.training:  # type: ignore[attr-defined]
            for name, value in terms.items():
                self._cot_terms.setdefault(name, []).append(value)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of both terms since the last log to a training log."""
        if "loss" in logs:
            logs.update({name: sum(values) / len(values) for name, values in self._cot_terms.items()})
            self._cot_terms.clear()
        super().log(logs, *args, **kwargs)  # type: ignore[misc]


def _refuse_unsupported(trainer: Any) -> None:
    from earwitness.errors import UserError

    arguments = trainer.finetuning_args
    clashes = {
        "label_smoothing_factor": trainer.args.label_smoothing_factor > 0,
        "use_dft_loss": arguments.use_dft_loss,
        "use_eaft_loss": arguments.use_eaft_loss,
        "use_asft_loss": arguments.use_asft_loss,
    }
    clashing = [name for name, clash in clashes.items() if clash]
    if clashing:
        raise UserError(f"cot_loss_weight cannot be combined with {', '.join(clashing)}; remove one of them")
