"""Packed rows in SFT: refused before anything is trained. The host's attention is not right for rows with clips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY


def train(out: Path, model: Path, data: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    settings = {
        "model_name_or_path": str(model),
        "template": "qwen2_omni",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "disable_gradient_checkpointing": True,
        "dataset": "pairs",
        "dataset_dir": str(data),
        "media_dir": str(data),
        "max_samples": 4,
        "cutoff_len": 4096,
        "output_dir": str(out),
        "max_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        **changes,
    }
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "llamafactory.cli", "train", str(config)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "HF_DATASETS_CACHE": str(out.parent / "cache")},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packing", "message"),
    [
        (
            "packing",
            "packing: pairs has clips, and rows would attend to the clips and verdicts",
        ),
        ("neat_packing", "neat_packing: pairs has clips, and LLaMA-Factory cannot keep packed rows with clips apart"),
    ],
)
def test_packing_rows_with_clips_is_refused(tiny_models, pair_data, tmp_path, packing, message):
    done = train(tmp_path / "out", tiny_models["qwen2_5_omni"], pair_data, **{packing: True})
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
