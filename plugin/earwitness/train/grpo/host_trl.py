"""trl 0.24's GRPOTrainer under transformers 5, and the arguments that it expects of its own configuration class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Any


def _mend_availability() -> None:
    """Make trl's availability flags truths again: transformers 5 answers with a tuple, which is always true."""
    import trl.import_utils as flags

    for name, value in vars(flags).items():
        if name.endswith("_available") and isinstance(value, tuple):
            setattr(flags, name, value[0])


_mend_availability()

from trl.trainer.grpo_config import GRPOConfig  # noqa: E402
from trl.trainer.grpo_trainer import GRPOTrainer  # noqa: E402

__all__ = ["GRPOTrainer", "extend_arguments", "gathered_weights"]


def extend_arguments(training_args: Any, finetuning_args: Any) -> None:
    """Give the host's training arguments what trl reads from its ``GRPOConfig``, in place.

    A second ``GRPOConfig`` would set up processes and DeepSpeed a second time. ``beta`` stays 0: trl would build its
    reference model from the configuration's architecture, which is the full Omni.
    """
    for item in fields(GRPOConfig):
        if not hasattr(training_args, item.name):
            made = item.default_factory() if item.default_factory is not MISSING else item.default
            setattr(training_args, item.name, made)
    steps = training_args.gradient_accumulation_steps * finetuning_args.grpo_updates_per_generation
    settings = {
        "num_generations": finetuning_args.grpo_num_generations,
        "num_iterations": finetuning_args.grpo_num_iterations,
        "max_completion_length": finetuning_args.grpo_max_new_tokens,
        "temperature": finetuning_args.grpo_temperature,
        "shuffle_dataset": not finetuning_args.disable_shuffling,
        "steps_per_generation": steps,
        "generation_batch_size": training_args.per_device_train_batch_size * training_args.world_size * steps,
        "beta": 0.0,
        "disable_dropout": True,
    }
    for name, value in settings.items():
        setattr(training_args, name, value)


@contextmanager
def gathered_weights(model: Any, accelerator: Any) -> Iterator[Any]:
    """Yield the unwrapped model with whole weights, which ZeRO-3 otherwise keeps in parts."""
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None or plugin.zero_stage != 3:
        yield accelerator.unwrap_model(model)
        return
    import deepspeed
    from trl.models.utils import add_hooks, remove_hooks

    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        remove_hooks(model)
        try:
            yield accelerator.unwrap_model(model)
        finally:
            add_hooks(model)
