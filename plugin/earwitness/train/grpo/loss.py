"""The numbers of GRPO, free of models: advantages within a group, weights of tokens, the clipped loss.

Sources: GRPO, arXiv 2402.03300, equations 3 and 4; DAPO, arXiv 2503.14476 (token mean, upper clipping range);
Dr. GRPO, arXiv 2503.20783 (constant length, no division by the deviation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from earwitness.train.grpo.arguments import LossType, Scale

EPSILON = 1e-4
"""Added to a standard deviation before dividing by it."""


@dataclass(frozen=True)
class Advantages:
    """Advantages of a batch of groups.

    Attributes:
        values: (N,) float32; 0 for completions without a reward.
        scored: (N,) bool; false for completions without a reward.
        reward: mean reward of the scored completions; NaN where there is none.
        deviation: mean over groups of the standard deviation of rewards; NaN without a group of two scored ones.
        flat: share of groups with fewer than two scored completions or all rewards equal: nothing is learnt there.
    """

    values: torch.Tensor
    scored: torch.Tensor
    reward: float
    deviation: float
    flat: float


def group_advantages(totals: Sequence[float | None], group: int, scale: Scale) -> Advantages:
    """Compare each completion's reward with the mean of its group.

    Args:
        totals: (N,) rewards, groups one after the other; None leaves a completion out, of the mean too.
        group: completions a group; N is a multiple.
        scale: divide by the standard deviation (n - 1) of the group, of the batch, or by nothing.
    """
    rewards = torch.tensor([math.nan if total is None else total for total in totals], dtype=torch.float64)
    scored = ~rewards.isnan()
    groups, known = rewards.view(-1, group), scored.view(-1, group)
    counts = known.sum(1, keepdim=True)
    means = groups.nansum(1, keepdim=True) / counts.clamp(min=1)
    centred = torch.where(known, groups - means, 0.0)
    deviations = (centred.square().sum(1, keepdim=True) / (counts - 1).clamp(min=1)).sqrt()
    if scale == "group":
        values = centred / (deviations + EPSILON)
    elif scale == "batch" and int(scored.sum()) > 1:
        values = centred / (rewards[scored].std() + EPSILON)
    else:
        values = centred
    pairs = counts > 1
    return Advantages(
        values=values.view(-1).float(),
        scored=scored,
        reward=rewards[scored].mean().item() if bool(scored.any()) else math.nan,
        deviation=deviations[pairs].mean().item() if bool(pairs.any()) else math.nan,
        flat=(~pairs | (deviations < 1e-9)).double().mean().item(),
    )


def completion_weights(
    lengths: torch.Tensor, scored: torch.Tensor, loss_type: LossType, updates: int, max_length: int
) -> torch.Tensor:
    """Return what each token of a completion weighs in the loss.

    The loss of one update is the sum over its tokens of weight times loss. Weights refer to the whole batch of
    completions, so that neither processes, nor gradient accumulation, nor micro-batches change the loss.

    Args:
        lengths: (N,) tokens of each completion that count.
        scored: (N,) bool; the others weigh 0.
        loss_type: see ``GrpoArguments.grpo_loss_type``.
        updates: into how many optimizer steps the batch is split.
        max_length: ``grpo_max_new_tokens``.

    Returns: (N,) float32.
    """
    used = scored & (lengths > 0)
    count = used.sum().clamp(min=1).double()
    if loss_type == "grpo":
        weights = 1.0 / (count * lengths.clamp(min=1))
    elif loss_type == "dapo":
        weights = (1.0 / lengths[used].sum().clamp(min=1).double()).expand(len(lengths))
    else:
        weights = (1.0 / (count * max_length)).expand(len(lengths))
    return torch.where(used, weights * updates, 0.0).float()


@dataclass(frozen=True)
class TokenLosses:
    """Per-token results, each (B, T): the loss, the KL estimate (None without a reference), where clipping acted."""

    loss: torch.Tensor
    kl: torch.Tensor | None
    clipped_low: torch.Tensor
    clipped_high: torch.Tensor


def token_losses(
    logps: torch.Tensor,
    old: torch.Tensor | None,
    reference: torch.Tensor | None,
    advantages: torch.Tensor,
    *,
    epsilon: tuple[float, float],
    beta: float,
) -> TokenLosses:
    """Compute -min(r A, clip(r) A) + beta KL of every token.

    Args:
        logps: (B, T) log-probabilities under the policy, with gradient.
        old: (B, T) under the policy that sampled; None where that is the policy itself.
        reference: (B, T) under the reference; None for beta 0.
        advantages: (B,).
        epsilon: lower and upper clipping range.
        beta: weight of the KL estimate exp(d) - d - 1 with d = reference - logps (equation 4; never negative).
    """
    ratio = torch.exp(logps - (logps.detach() if old is None else old))
    advantage = advantages[:, None]
    low, high = 1 - epsilon[0], 1 + epsilon[1]
    loss = -torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
    kl = None
    if reference is not None:
        difference = reference - logps
        kl = torch.exp(difference) - difference - 1
        loss = loss + beta * kl
    return TokenLosses(
        loss=loss,
        kl=kl,
        clipped_low=(ratio < low) & (advantage < 0),
        clipped_high=(ratio > high) & (advantage > 0),
    )
