"""Fields that Earwitness adds to LLaMA-Factory's fine-tuning and model arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from earwitness.audio.cache import DISK_MB
from earwitness.audio.limits import Overlong
from earwitness.errors import UserError
from earwitness.train.distill.arguments import DistillArguments
from earwitness.train.grpo.arguments import GrpoArguments


@dataclass
class SpeechJudgeArguments(GrpoArguments, DistillArguments):
    """Mixed into the host's ``FinetuningArguments``; each field is a YAML key and a command-line option."""

    cot_loss_weight: float = field(
        default=1.0,
        metadata={
            "help": "Weight of the chain-of-thought lines between <think> and </think> against the answer in SFT "
            "(lambda of SQ-LLM's equation 1). 1.0 is plain SFT."
        },
    )
    tower_cache_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder that keeps the outputs of a frozen audio tower, so that each clip is heard once by all "
            "epochs, runs and processes (docs/audio.md says where it pays). Default: none are kept."
        },
    )
    tower_cache_mb: int = field(
        default=DISK_MB, metadata={"help": "Most megabytes in tower_cache_dir; the least recently used outputs go."}
    )

    def __post_init__(self) -> None:
        """Check our fields, then the host's.

        Raises:
            UserError: a value outside its range.
        """
        if not 0.0 <= self.cot_loss_weight <= 1e4:
            raise UserError(f"cot_loss_weight: {self.cot_loss_weight} is not allowed; give a number from 0 to 10000")
        if self.cot_loss_weight != 1.0:
            self._check_weighted()
        if self.tower_cache_mb < 1:
            raise UserError(f"tower_cache_mb: {self.tower_cache_mb} is not allowed; give a whole number of at least 1")
        super().__post_init__()

    def _check_weighted(self) -> None:
        from llamafactory.extras.misc import is_env_enabled

        host: Any = self
        if self.stage != "sft":
            raise UserError(f"cot_loss_weight: is for stage: sft, but stage is {self.stage}; remove it")
        other = ("use_dft_loss", "use_eaft_loss", "use_asft_loss", "use_hyper_parallel")
        for name, used in {
            "USE_MCA": is_env_enabled("USE_MCA"),
            **{name: getattr(host, name) for name in other},
        }.items():
            if used:
                raise UserError(f"cot_loss_weight: cannot be combined with {name}, which has a loss of its own")


@dataclass
class HearingArguments:
    """Mixed into the host's ``ModelArguments``, which also say how images and videos are read."""

    overlong_audio: str | None = field(
        default=None,
        metadata={
            "help": "What happens to clips longer than the model hears: error; skip = their rows are dropped, counted "
            "and listed; truncate = their beginning is heard. Default: EARWITNESS_OVERLONG, else error."
        },
    )

    def __post_init__(self) -> None:
        """Check our field, then the host's.

        Raises:
            UserError: an unknown policy.
        """
        if self.overlong_audio not in (None, *get_args(Overlong)):
            raise UserError(
                f"overlong_audio: {self.overlong_audio!r} is unknown; allowed: {', '.join(get_args(Overlong))}"
            )
        super().__post_init__()  # type: ignore[misc]
