"""Fields of distillation, mixed into LLaMA-Factory's fine-tuning arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from earwitness.errors import UserError

DistillLoss = Literal["dpo", "kl"]


@dataclass
class DistillArguments:
    """Each field is a YAML key and a command-line option; ``expert_model`` turns ``stage: dpo`` into distillation."""

    expert_model: str | None = field(
        default=None,
        metadata={
            "help": "DPO: distil from this text LLM (ALLD): it is the reference, reads expert_prompt instead of the "
            "judge's prompt and never hears a clip. ref_model_adapters and ref_model_quantization_bit apply to it."
        },
    )
    expert_template: str | None = field(
        default=None, metadata={"help": "DPO with expert_model: its chat template. Default: that of the judge."}
    )
    distill_loss: DistillLoss = field(
        default="dpo",
        metadata={
            "help": "DPO with expert_model: dpo = ALLD's preference loss; kl = divergence of the expert's next token "
            "from the judge's, over both responses (needs one vocabulary)."
        },
    )

    def __post_init__(self) -> None:
        """Check these fields, then the host's.

        Raises:
            UserError: a value that is not allowed, or fields that contradict each other.
        """
        if self.distill_loss not in get_args(DistillLoss):
            raise UserError(
                f"distill_loss: {self.distill_loss!r} is unknown; allowed: {', '.join(get_args(DistillLoss))}"
            )
        if self.expert_model is not None:
            self._check_expert()
        else:
            defaults = {"expert_template": None, "distill_loss": "dpo"}
            given = [name for name, default in defaults.items() if getattr(self, name) != default]
            if given:
                raise UserError(f"{given[0]}: is for distillation; give expert_model as well, or remove it")
        super().__post_init__()  # type: ignore[misc]

    def _check_expert(self) -> None:
        host: Any = self
        if host.stage != "dpo":
            raise UserError(
                f"expert_model: is for stage: dpo, but stage is {host.stage}; change the stage or remove it"
            )
        if host.ref_model not in (None, self.expert_model):
            raise UserError("ref_model: the expert is the reference; give expert_model alone")
        if host.pref_loss != "sigmoid":
            raise UserError(f"pref_loss: {host.pref_loss} cannot be used with expert_model; ALLD's loss is sigmoid")
        refused = {"pref_bco_weight": 0.0, "ld_alpha": None, "use_mca": False}
        if self.distill_loss == "kl":
            refused["dpo_label_smoothing"] = 0.0
        for name, neutral in refused.items():
            if getattr(host, name) != neutral:
                raise UserError(f"{name}: cannot be used with expert_model and distill_loss: {self.distill_loss}")
        host.ref_model = self.expert_model  # the host loads it, with ref_model_adapters and its quantisation
