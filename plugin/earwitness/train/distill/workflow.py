"""From the parsed arguments to the host's own DPO workflow with an expert beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from earwitness.errors import UserError


def with_expert(run_dpo: Callable[..., None]) -> Callable[..., None]:
    """Wrap the host's ``run_dpo``: with ``expert_model``, data and trainer get to know the expert first."""

    def run(
        model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: list[Any] | None = None
    ) -> None:
        if finetuning_args.expert_model is not None:
            prepare(model_args, data_args, training_args, finetuning_args)
        run_dpo(model_args, data_args, training_args, finetuning_args, callbacks)

    return run


def prepare(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Load the expert's tokenizer and hand it to the data processor and the trainer.

    Raises:
        UserError: an option cannot be honoured here, or the expert does not fit the judge.
    """
    from earwitness.train.distill.expert import Expert

    if model_args.use_unsloth:
        raise UserError("use_unsloth: cannot be used with expert_model (it replaces the forward pass); remove it")
    finetuning_args.expert = data_args.expert = Expert.load(model_args, data_args, finetuning_args)
    if training_args.should_log:
        from llamafactory.extras import logging

        one = finetuning_args.expert.shared is not None
        logging.get_logger(__name__).info_rank0(
            f"Expert {finetuning_args.expert_model}: "
            + ("shares the judge's vocabulary." if one else "has its own vocabulary; whole responses are compared.")
        )
