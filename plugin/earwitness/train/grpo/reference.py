"""Which policy the KL divergence refers to."""

from __future__ import annotations

from typing import Any

from earwitness.errors import UserError


def create_reference(model_args: Any, finetuning_args: Any) -> Any:
    """Load the reference model, or return None: beta is 0, or disabling the policy's adapter gives the reference.

    Args:
        model_args: the host's.
        finetuning_args: the host's with our fields. ``ref_model`` (with ``ref_model_adapters``) names the reference;
            without it, it is the model that training starts from.

    Raises:
        UserError: training goes on with an adapter, so disabling it would give the model below the adapter instead of
            the policy that training starts from.
    """
    from llamafactory.train.trainer_utils import create_ref_model

    if finetuning_args.grpo_beta == 0.0:
        if finetuning_args.ref_model is not None:
            raise UserError("ref_model: is used only where grpo_beta is above 0; set grpo_beta, or remove ref_model")
        return None
    if finetuning_args.ref_model is None and _continues_adapter(model_args, finetuning_args):
        adapters = ", ".join(model_args.adapter_name_or_path)
        raise UserError(
            f"grpo_beta: training continues the adapter {adapters}; without it the model is not the policy that "
            "training starts from, so it is no reference. Set create_new_adapter: true (merges the adapter, trains a "
            "new one; not with quantisation or ZeRO-3), or ref_model and ref_model_adapters, or merge it with "
            "llamafactory-cli export, or set grpo_beta: 0"
        )
    return create_ref_model(model_args, finetuning_args)


def _continues_adapter(model_args: Any, finetuning_args: Any) -> bool:
    """Tell whether the host trains the given adapter itself; the conditions are those of its ``_setup_lora_tuning``."""
    from transformers.integrations import is_deepspeed_zero3_enabled

    if model_args.adapter_name_or_path is None:
        return False
    mergeable = model_args.quantization_bit is None and not is_deepspeed_zero3_enabled()
    return not (finetuning_args.create_new_adapter and mergeable)
