"""Fields of ``stage: grpo``, mixed into LLaMA-Factory's fine-tuning arguments."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from earwitness.errors import UserError

Stage = Literal["pt", "sft", "rm", "ppo", "dpo", "kto", "grpo"]
LossType = Literal["grpo", "dapo", "dr_grpo"]
Scale = Literal["group", "batch", "none"]


@dataclass
class GrpoArguments:
    """Each field is a YAML key and a command-line option; those that start with ``grpo_`` are for that stage alone."""

    stage: Stage = field(
        default="sft", metadata={"help": "Which stage will be performed in training; grpo is Earwitness's."}
    )
    reward_funcs: list[str] | None = field(
        default=None,
        metadata={"help": "GRPO: names of rewards (docs/grpo.md lists them), or path/to/file.py:function."},
    )
    reward_weights: list[float] | None = field(
        default=None,
        metadata={"help": "GRPO: one weight for each of reward_funcs. Default: 1, and SQ-LLM's for its criteria."},
    )
    reward_options: dict | str | None = field(
        default=None, metadata={"help": "GRPO: reward name to keyword arguments of its function (mapping or JSON)."}
    )
    evaluator: dict | str | None = field(
        default=None,
        metadata={"help": "GRPO: who grades: base_url and model of a server, or model_path (mapping or JSON)."},
    )
    grpo_num_generations: int = field(
        default=8, metadata={"help": "GRPO: completions for each prompt (G), at least 2."}
    )
    grpo_max_new_tokens: int = field(default=256, metadata={"help": "GRPO: the most tokens of a completion."})
    grpo_temperature: float = field(default=1.0, metadata={"help": "GRPO: of sampling and of the policy itself."})
    grpo_top_p: float = field(default=1.0, metadata={"help": "GRPO: nucleus of sampling; 1 samples from the policy."})
    grpo_top_k: int = field(default=0, metadata={"help": "GRPO: likeliest tokens to sample from; 0 takes them all."})
    grpo_beta: float = field(
        default=0.0, metadata={"help": "GRPO: weight of the KL divergence to the reference; 0 needs no reference."}
    )
    grpo_num_iterations: int = field(
        default=1, metadata={"help": "GRPO: passes over each batch of completions (mu of the paper)."}
    )
    grpo_updates_per_generation: int = field(
        default=1, metadata={"help": "GRPO: optimizer steps into which one batch of completions is split."}
    )
    grpo_epsilon: float = field(default=0.2, metadata={"help": "GRPO: clipping range of the probability ratio."})
    grpo_epsilon_high: float | None = field(
        default=None, metadata={"help": "GRPO: upper clipping range, if it differs (DAPO: 0.28)."}
    )
    grpo_loss_type: LossType = field(
        default="dapo",
        metadata={
            "help": "GRPO: grpo = mean over completions of their token means; dapo = mean over all tokens; "
            "dr_grpo = sum over tokens by completions times grpo_max_new_tokens."
        },
    )
    grpo_scale_rewards: Scale = field(
        default="group",
        metadata={"help": "GRPO: standard deviation that advantages are divided by: group, batch or none."},
    )
    grpo_mask_truncated: bool = field(
        default=False, metadata={"help": "GRPO: leave completions that reached grpo_max_new_tokens out of the loss."}
    )
    grpo_log_completions: int = field(
        default=4, metadata={"help": "GRPO: completions in the table printed at each log; 0 prints none."}
    )

    def __post_init__(self) -> None:
        """Check these fields, then the host's.

        Raises:
            UserError: a value outside its range, or a field of another stage.
        """
        self.reward_options = _mapping("reward_options", self.reward_options)
        self.evaluator = _mapping("evaluator", self.evaluator)
        _one_of("stage", self.stage, get_args(Stage))
        if self.stage == "grpo":
            self._check_grpo()
        else:
            names = ("reward_funcs", "reward_weights", "reward_options", "evaluator")
            given = [name for name in names if getattr(self, name)]
            if given:
                raise UserError(f"{given[0]}: is for stage: grpo, but stage is {self.stage}; remove it")
        super().__post_init__()  # type: ignore[misc]

    def _check_grpo(self) -> None:
        if isinstance(self.reward_funcs, str):
            self.reward_funcs = [name.strip() for name in self.reward_funcs.split(",")]
        _one_of("grpo_loss_type", self.grpo_loss_type, get_args(LossType))
        _one_of("grpo_scale_rewards", self.grpo_scale_rewards, get_args(Scale))
        _whole(self, grpo_num_generations=2, grpo_max_new_tokens=1, grpo_top_k=0, grpo_num_iterations=1)
        _whole(self, grpo_updates_per_generation=1, grpo_log_completions=0)
        for name, low, high in (
            ("grpo_temperature", 0.01, 100.0),
            ("grpo_top_p", 1e-6, 1.0),
            ("grpo_beta", 0.0, 1e4),
            ("grpo_epsilon", 1e-6, 1.0),
            ("grpo_epsilon_high", 1e-6, 100.0),
        ):
            value = getattr(self, name)
            if name == "grpo_epsilon_high" and value is None:
                continue
            if not _is_number(value) or not low <= value <= high:
                raise UserError(f"{name}: {value!r} is not allowed; give a number from {low:g} to {high:g}")


def _mapping(name: str, value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise UserError(f"{name}: is not JSON ({error}): {value!r}") from None
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{name}: must be a mapping, but is {value!r}")
    return value


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}: {value!r} is unknown; allowed: {', '.join(allowed)}")


def _whole(arguments: GrpoArguments, **lowest: int) -> None:
    for name, low in lowest.items():
        value = getattr(arguments, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise UserError(f"{name}: {value!r} is not allowed; give a whole number of at least {low}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
