"""What every SFT of a tiny judge by the host has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def sft_settings(model: Path, dataset_dir: Path, output_dir: Path, **changes: Any) -> dict[str, Any]:
    """Settings of two full steps with the tower frozen, as a YAML holds them; ``changes`` add to them or replace."""
    return {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": False,
        "dataset_dir": str(dataset_dir),
        "template": "qwen2_omni",
        "cutoff_len": 512,
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "logging_steps": 1,
        "report_to": "none",
        "overwrite_cache": True,
        **changes,
    }
