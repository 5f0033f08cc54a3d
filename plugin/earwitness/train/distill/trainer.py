"""DPO against an expert (Chen et al., ALLD, ICLR 2025), and the divergence between its next tokens and the judge's.

    L_dpo = -log sigmoid(beta * [(log p(y_t | x_a) - log p_E(y_t | x_m)) - (log p(y_a | x_a) - log p_E(y_a | x_m))])
    L_kl  = mean over the tokens of y_t and y_a of KL(p_E(. | x_m, y_<) || p(. | x_a, y_<))

y_t is the expert's text (chosen), y_a the audio LLM's own (rejected), x_a the judge's prompt with its clips, x_m the
expert's prompt, for which ALLD gives the ratings. That the divergence is also taken where the judge itself went is
on-policy distillation (Agarwal et al., GKD, ICLR 2024).
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from earwitness.errors import UserError
from earwitness.train.distill.loss import ResponseTokens, response_tokens, token_divergence

_PREFIX = "expert_"


class DistillsExpert:
    """Mixin for the host's DPO trainer; does nothing without ``expert_model``."""

    finetuning_args: Any
    accelerator: Any
    ref_model: Any

    def get_batch_loss_metrics(
        self, model: Any, batch: dict[str, torch.Tensor], train_eval: Literal["train", "eval"] = "train"
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Compute the loss of a batch and its figures.

        Args:
            model: the judge as training wraps it.
            batch: the judge's inputs and, under ``expert_*``, the expert's; chosen rows before rejected ones.
            train_eval: figures of evaluation are named ``eval_*``.

        Returns: the loss; the host's figures, where judge and expert share a vocabulary also ``kl`` and, over
            the expert's text alone, ``kl_chosen`` (nats a token).
        """
        arguments = self.finetuning_args
        if arguments.expert_model is None:
            return super().get_batch_loss_metrics(model, batch, train_eval)  # type: ignore[misc]
        judge, expert = self._read(model, batch)
        chosen, rejected = judge.logps().chunk(2)
        expert_chosen, expert_rejected = expert.logps().chunk(2)
        losses, chosen_rewards, rejected_rewards = self.dpo_loss(  # type: ignore[attr-defined]
            chosen, rejected, expert_chosen, expert_rejected
        )
        loss = losses.mean()
        figures: dict[str, torch.Tensor] = {}
        if arguments.expert.shared is not None:
            with torch.set_grad_enabled(arguments.distill_loss == "kl" and torch.is_grad_enabled()):
                tokens = token_divergence(judge, expert, arguments.expert.shared)
            # By response first: the loss is then the same however the responses are spread over batches and processes.
            responses = tokens.new_zeros(judge.count).index_add(0, judge.rows, tokens) / judge.lengths()
            divergence = responses.mean()
            figures |= {"kl": divergence, "kl_chosen": responses[: judge.count // 2].mean()}
            loss = divergence if arguments.distill_loss == "kl" else loss
        if arguments.pref_ftx > 0:
            lengths = judge.lengths().chunk(2)[0]
            loss = loss - arguments.pref_ftx * (chosen / lengths).mean()
        logits = judge.logits.detach().mean(-1)
        is_chosen = judge.rows < judge.count // 2
        figures |= {
            "rewards/chosen": chosen_rewards.mean(),
            "rewards/rejected": rejected_rewards.mean(),
            "rewards/accuracies": (chosen_rewards > rejected_rewards).float().mean(),
            "rewards/margins": (chosen_rewards - rejected_rewards).mean(),
            "logps/chosen": chosen.mean(),
            "logps/rejected": rejected.mean(),
            "logits/chosen": logits[is_chosen].mean(),
            "logits/rejected": logits[~is_chosen].mean(),
        }
        prefix = "eval_" if train_eval == "eval" else ""
        return loss, {prefix + name: value.item() for name, value in figures.items()}

    def _read(self, model: Any, batch: dict[str, torch.Tensor]) -> tuple[ResponseTokens, ResponseTokens]:
        theirs = {name.removeprefix(_PREFIX): item for name, item in batch.items() if name.startswith(_PREFIX)}
        if not theirs:
            raise UserError(
                "tokenized_path: its rows were encoded without expert_model; remove it, or encode them again"
            )
        mine = {name: item for name, item in batch.items() if not name.startswith(_PREFIX)}
        unwrap = self.accelerator.unwrap_model
        with torch.no_grad():
            expert = response_tokens(self.ref_model, unwrap(self.ref_model), theirs, theirs.pop("labels"))
        return response_tokens(model, unwrap(model), mine, mine.pop("labels")), expert
