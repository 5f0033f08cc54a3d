"""One side of ``benchmarks/audio.py``'s training: runs LLaMA-Factory's SFT and prints its times as one JSON line.

    python benchmarks/audio_training.py host|ours MODEL DATASET_DIR STEPS

``host`` (to be run with EARWITNESS_DISABLE=1) gets a loader that works, and nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import soundfile

BATCH = 8


def load(self: Any, audios: list, sampling_rate: float, **_: Any) -> dict[str, Any]:
    """Read clips that are at the right rate already."""
    return {"audios": [soundfile.read(audio, dtype="float32")[0] for audio in audios], "sampling_rates": []}


def main(side: str, model: str, folder: str, steps: int) -> None:
    """Train and print."""
    if side == "ours":
        from earwitness import autoload

        autoload.activate()
    import llamafactory.train.sft.workflow as workflow
    from llamafactory.data.mm_plugin import MMPluginMixin
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    if side == "host":
        MMPluginMixin._regularize_audios = load
    times: dict[str, float] = {}
    get_dataset = workflow.get_dataset

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        dataset = get_dataset(*args, **kwargs)
        times["tokenize_seconds"] = time.perf_counter() - start
        return dataset

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            times["train_seconds"] = time.perf_counter() - self.start
            times["step_seconds"] = times["train_seconds"] / steps

    workflow.get_dataset = timed
    run_exp(
        {
            "model_name_or_path": model,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "full",
            "freeze_multi_modal_projector": False,
            "dataset": "pairs",
            "dataset_dir": folder,
            "template": "qwen2_omni",
            "cutoff_len": 1024,
            "output_dir": f"{folder}/out_{side}",
            "overwrite_output_dir": True,
            "per_device_train_batch_size": BATCH,
            "max_steps": steps,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
        },
        callbacks=[Clock()],
    )
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
