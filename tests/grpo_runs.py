"""Runs of ``stage: grpo`` on tiny models, inside the test's process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

REWARD = '''
"""A reward that differs between the completions of any policy."""

def letters(prompts, completions, records, **columns):
    return [sum(letter.isalpha() for letter in text) / max(1, len(text)) for text in completions]

def some(prompts, completions, records, **columns):
    """None for every third kind of text."""
    return [None if len(text) % 3 == 0 else len(text) % 7 / 7 for text in completions]
'''

LEARNS_TO_HEAR = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
"""What lets the audio tower learn: for the host it is part of the vision tower."""


def settings(model: Path, data: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A small run: two prompts of four completions a step, eight prompts in all."""
    reward = folder / "reward.py"
    reward.write_text(REWARD)
    base: dict[str, Any] = {
        "model_name_or_path": str(model),
        "stage": "grpo",
        "do_train": True,
        "finetuning_type": "full",
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": True,
        "dataset": "pairs",
        "dataset_dir": str(data),
        "template": "qwen2_omni",
        "cutoff_len": 512,
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "report_to": "none",
        "disable_gradient_checkpointing": True,
        "reward_funcs": [f"{reward}:letters"],
        "grpo_num_generations": 4,
        "grpo_max_new_tokens": 8,
        "grpo_log_completions": 0,
    }
    return base | changes


def make(settings: dict[str, Any]) -> Any:
    """The trainer that ``llamafactory-cli train`` would make."""
    from llamafactory.hparams import get_train_args

    from earwitness.train.grpo.workflow import check_arguments, make_trainer

    model_args, data_args, training_args, finetuning_args, generating_args = get_train_args(settings)
    check_arguments(model_args, training_args, finetuning_args, generating_args)
    return make_trainer(model_args, data_args, training_args, finetuning_args)


def run(settings: dict[str, Any]) -> Any:
    """Train; return the trainer."""
    trainer = make(settings)
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    return trainer


def steps(trainer: Any) -> list[dict[str, float]]:
    """The log of each step, without times."""
    return without_times(trainer.state.log_history)


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The logs of steps in a history."""
    return [row for row in history if "loss" in row]


def journal(folder: str | Path) -> list[dict[str, Any]]:
    """The rows of ``completions.jsonl``."""
    return [json.loads(line) for line in Path(folder, "completions.jsonl").open(encoding="utf-8")]
