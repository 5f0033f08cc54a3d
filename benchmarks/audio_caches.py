"""Where the caches on disk pay: milliseconds a clip to compute, to compute and store, and to find, and what it takes.

    python benchmarks/audio_caches.py [--folder DIR] [--threads 1] [--json FILE]

Two tables: mel features by clip, and outputs of a frozen Qwen2.5-Omni tower of random weights, in 32 bits, by the
tower's size and clip. The fastest of several runs counts; files are in the page cache, so the disk's own speed is not
in it. ``--folder`` puts the caches there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import soundfile
import torch
from audio import milliseconds, speech_like, use_caches

CLIPS = (
    (2, 16_000, "wav"),
    (5, 16_000, "wav"),
    (5, 48_000, "wav"),
    (5, 24_000, "mp3"),
    (15, 16_000, "wav"),
    (60, 16_000, "wav"),
)
"""Seconds, Hz, format."""
TOWERS = (
    ("2 x 96, the demo's size", {"hidden": 96, "tower_layers": 2}, (2, 5, 60)),
    ("12 x 768", {"hidden": 2048, "tower_hidden": 768, "tower_layers": 12, "tower_heads": 12}, (2, 5, 15)),
    ("4 x 1280, an eighth of the 7B model's", {"hidden": 3584, "tower_hidden": 1280, "tower_layers": 4}, (2, 5)),
)
"""Layers x width of the tower, its sizes, and seconds of the clips."""
RUNS, BUDGET_MS = 30, 10_000
"""Runs of each kind, fewer where they would take longer than this."""


def fastest(run: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
    """Return the milliseconds of the fastest run; ``before`` each, something that does not count."""
    times: list[float] = []
    while len(times) < 3 or (len(times) < RUNS and sum(times) < BUDGET_MS):
        before()
        times.append(milliseconds(run))
    return min(times)


def kilobytes(folder: Path) -> float:
    """Return what the files under a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e3


def features(folder: Path) -> list[dict[str, Any]]:
    """Measure the feature cache, clip by clip."""
    from transformers import WhisperFeatureExtractor

    from earwitness.audio.features import batch_features_of

    extractor, rows = WhisperFeatureExtractor(feature_size=128, chunk_length=300), []
    for number, (seconds, rate, kind) in enumerate(CLIPS):
        clip, store = folder / f"{number}.{kind}", folder / f"features{number}"
        soundfile.write(clip, speech_like(seconds * rate, number), rate)

        def compute(clip: Path = clip) -> None:
            batch_features_of([clip], extractor, "qwen2_5_omni")

        def empty(store: Path = store) -> None:
            shutil.rmtree(store, ignore_errors=True)
            use_caches(memory=False, disk=store)

        use_caches(memory=False, disk=None)
        compute()
        row = {"clip": f"{seconds} s, {kind} {rate // 1000} kHz", "computed": fastest(compute)}
        row["stored"] = fastest(compute, empty)
        row["found"] = fastest(compute)
        rows.append({**row, "file_kb": clip.stat().st_size / 1e3, "stored_kb": kilobytes(store)})
    return rows


def tower_outputs(folder: Path) -> list[dict[str, Any]]:
    """Measure the tower cache, size by size."""
    from transformers import AutoModelForTextToWaveform

    from earwitness.audio.tower import use_exact_tower
    from earwitness.audio.tower_cache import remember_tower_outputs
    from earwitness.tiny import TinyShape, build_tiny

    rows, fresh = [], count()
    for name, sizes, lengths in TOWERS:
        width = sizes.get("tower_hidden", 96)
        shape = TinyShape(text_layers=1, tower_ffn=4 * width, **sizes)
        path = build_tiny(folder / "model", corpus=["noise"] * 4, shape=shape)

        def load(path: Path = path) -> Any:
            model = AutoModelForTextToWaveform.from_pretrained(path).thinker.eval().requires_grad_(False)
            use_exact_tower(model)
            return model

        plain, remembering = load(), load()
        # The tower of the remembering model holds one store; a new clip, not a new folder, makes it compute.
        store = folder / f"tower{len(rows)}"
        remember_tower_outputs(remembering, store)
        for seconds in lengths:
            mask = torch.ones(1, 100 * seconds, dtype=torch.long)
            clip = torch.randn(1, 128, 100 * seconds)

            def hear(model: Any, clip: torch.Tensor = clip, mask: torch.Tensor = mask) -> None:
                with torch.inference_mode():
                    model.get_audio_features(clip, feature_attention_mask=mask)

            def another(clip: torch.Tensor = clip) -> None:
                clip[0, 0, 0] = next(fresh)

            row = {"tower": name, "clip": f"{seconds} s", "computed": fastest(lambda model=plain: hear(model))}
            before = kilobytes(store) if store.exists() else 0.0
            another()
            hear(remembering)
            row["stored_kb"] = kilobytes(store) - before
            row["stored"] = fastest(lambda model=remembering: hear(model), another)
            row["found"] = fastest(lambda model=remembering: hear(model))
            rows.append(row)
    return rows


def main() -> None:
    """Run the benchmark; see the module's text."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, help="of the caches; default: a temporary one")
    options.add_argument("--threads", type=int, default=1, help="of torch; a dataloader worker has 1")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = options.parse_args()

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        result = {"features": features(Path(name)), "tower": tower_outputs(Path(name))}
    print("| clip | from the file | and stored | from disk | file, kB | stored, kB |\n|---|---|---|---|---|---|")
    for row in result["features"]:
        print(
            f"| {row['clip']} | {row['computed']:.2f} | {row['stored']:.2f} | {row['found']:.2f} "
            f"| {row['file_kb']:.0f} | {row['stored_kb']:.0f} |"
        )
    print("\n| tower (layers x width) | clip | computed | computed and stored | found | stored, kB |")
    print("|---|---|---|---|---|---|")
    for row in result["tower"]:
        print(
            f"| {row['tower']} | {row['clip']} | {row['computed']:.1f} | {row['stored']:.1f} | {row['found']:.2f} "
            f"| {row['stored_kb']:.0f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
