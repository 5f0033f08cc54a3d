"""Fields that Earwitness adds to LLaMA-Factory's fine-tuning arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from earwitness.errors import UserError
from earwitness.train.grpo.arguments import GrpoArguments


@dataclass
class SpeechJudgeArguments(GrpoArguments):
    """Mixed into the host's ``FinetuningArguments``; each field is a YAML key and a command-line option."""

    cot_loss_weight: float = field(
        default=1.0,
        metadata={
            "help": "Weight of the chain-of-thought lines between <think> and </think> against the answer in SFT "
            "(lambda of SQ-LLM's equation 1). 1.0 is plain SFT."
        },
    )

    def __post_init__(self) -> None:
        """Check our fields, then the host's.

        Raises:
            UserError: a value outside its range.
        """
        if not 0.0 <= self.cot_loss_weight <= 1e4:
            raise UserError(f"cot_loss_weight: {self.cot_loss_weight} is not allowed; give a number from 0 to 10000")
        super().__post_init__()
