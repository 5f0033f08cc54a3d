"""Preference rows, tiny experts and runs of distillation for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHOSEN = ("The speech is clean. MOS: 4.2", "Loud hiss all over. MOS: 1.5", "A little muffled. MOS: 3.1")


def write_preferences(folder: Path, clips: Path, **columns: str) -> Path:
    """Four preferences about one and two clips, with ``columns`` mapped beside the usual ones."""
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "prompt": "<audio>\nDescribe." if index % 2 else "A: <audio>\nB: <audio>\nCompare.",
            "chosen": CHOSEN[index % 3],
            "rejected": "I do not know." + " Really not." * index,
            "audios": [str(clips / f"clip{index + side}.wav") for side in range(2 - index % 2)],
            "facts": json.dumps({"mos": index + 1, "noi": 5 - index}),
        }
        for index in range(4)
    ]
    entry = {
        "file_name": "rows.jsonl",
        "ranking": True,
        "columns": {
            **{name: name for name in ("prompt", "chosen", "rejected", "audios")},
            **columns,
        },
    }
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    return folder


def settings(model: Path, expert: Path, data: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A small run over all four preferences a step."""
    base: dict[str, Any] = {
        "model_name_or_path": str(model),
        "expert_model": str(expert),
        "stage": "dpo",
        "do_train": True,
        "finetuning_type": "full",
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": True,
        "dataset": "rows",
        "dataset_dir": str(data),
        "template": "qwen2_omni",
        "cutoff_len": 512,
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "report_to": "none",
        "disable_gradient_checkpointing": True,
        "disable_shuffling": True,
        "overwrite_cache": True,
    }
    return base | changes


class Trainers:
    """Catches the trainer that the host's workflow makes."""

    def __init__(self, monkeypatch: Any) -> None:
        from llamafactory.train.dpo import trainer

        made, host = [], trainer.CustomDPOTrainer
        self.made: list[Any] = made

        class Caught(host):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                made.append(self)

        monkeypatch.setattr(trainer, "CustomDPOTrainer", Caught)

    def run(self, settings: dict[str, Any]) -> Any:
        """Run ``llamafactory-cli train`` in this process; return its trainer."""
        from llamafactory.train.tuner import _training_function

        _training_function({"args": dict(settings), "callbacks": []})
        return self.made[-1]
