"""One side of a comparison of training: runs LLaMA-Factory's SFT and prints its times as one JSON line.

    python benchmarks/audio_training.py host|ours SETTINGS

SETTINGS is a JSON object of what a YAML of the host holds, added to `COMMON`. ``host`` (to be run with
EARWITNESS_DISABLE=1) gets a loader that works, and nothing else. Printed: seconds of tokenisation, of training, of a
step, and the share of training's time in which the device had no step to work on (``idle_share``), the first `WARM`
steps apart.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import soundfile
import torch

WARM = 1
"""Steps before the idle share is measured: the first starts workers and chooses kernels."""
COMMON: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "dataset": "pairs",
    "template": "qwen2_omni",
    "cutoff_len": 1024,
    "overwrite_output_dir": True,
    "overwrite_cache": True,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def load(self: Any, audios: list, sampling_rate: float, **_: Any) -> dict[str, Any]:
    """Read clips that are at the right rate already."""
    return {"audios": [soundfile.read(audio, dtype="float32")[0] for audio in audios], "sampling_rates": []}


class Moment:
    """A point in the device's own time: where it has been reached, not where it was asked for."""

    def __init__(self) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if torch.cuda.is_available() else None
        self._time = time.perf_counter()
        if self._event is not None:
            self._event.record()

    def seconds_to(self, later: Moment) -> float:
        """Wait until ``later`` has been reached; return the time between."""
        if self._event is None or later._event is None:
            return later._time - self._time
        later._event.synchronize()
        return self._event.elapsed_time(later._event) / 1e3


def clock(times: dict[str, float]) -> Any:
    """Return a callback of the trainer that writes to ``times``."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()
            self.begun: list[Moment] = []
            self.done: list[Moment] = []

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun.append(Moment())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.done.append(Moment())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            begun, done = self.begun[WARM:], self.done[WARM:]
            whole = self.done[WARM - 1].seconds_to(done[-1]) if done else 0.0
            waits = [before.seconds_to(after) for before, after in zip(self.done[WARM - 1 :], begun, strict=False)]
            times["train_seconds"] = time.perf_counter() - self.start
            times["step_seconds"] = times["train_seconds"] / len(self.done)
            if done:
                times["warm_step_seconds"] = whole / len(done)
                times["idle_share"] = sum(waits) / whole

    return Clock()


def main(side: str, settings: dict[str, Any]) -> None:
    """Train and print."""
    if side == "ours":
        from earwitness import autoload

        autoload.activate()
    import llamafactory.train.sft.workflow as workflow
    from llamafactory.data.mm_plugin import MMPluginMixin
    from llamafactory.train.tuner import run_exp

    if side == "host":
        MMPluginMixin._regularize_audios = load
    times: dict[str, float] = {}
    get_dataset = workflow.get_dataset

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        dataset = get_dataset(*args, **kwargs)
        times["tokenize_seconds"] = time.perf_counter() - start
        return dataset

    workflow.get_dataset = timed
    run_exp(COMMON | settings, callbacks=[clock(times)])
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
