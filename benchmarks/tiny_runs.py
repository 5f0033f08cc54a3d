"""Runs of the tiny judges for the benchmarks that train some: finished steps are kept, output goes to a log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = "runs/demo/data"
TEST = "demo_pairs_test"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def command(log: Path, *words: str | Path) -> float:
    """Run a command of the environment this script runs in, in the checkout; return the seconds that it took."""
    start = time.perf_counter()
    executable = Path(sys.executable).with_name(str(words[0]))
    environment = {**os.environ, **OFFLINE, "EARWITNESS_AUDIO_CACHE_MB": "1536"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        subprocess.run(
            [executable, *map(str, words[1:])], cwd=ROOT, stdout=file, stderr=file, check=True, env=environment
        )
    return time.perf_counter() - start


def train(recipe: str, out: Path, *options: str) -> float:
    """Train with a recipe of ``examples/judge`` and these changes; return its seconds, also if long ago."""
    done = out.with_suffix(".seconds")
    if not done.exists():
        seconds = command(
            out.with_suffix(".log"),
            "llamafactory-cli",
            "train",
            f"examples/judge/{recipe}.yaml",
            *options,
            f"output_dir={out}",
        )
        done.write_text(f"{seconds:.0f}\n")
    return float(done.read_text())


def judge(model: Path) -> Path:
    """Let a judge answer the test pairs in both orders; return its predictions."""
    out = model.with_name(f"{model.name}_{TEST}.jsonl")
    log = model.with_suffix(".log")
    options = ("--media-dir", DATA, "--orders", "both", "--max-new-tokens", "128", "--quiet", "--device", "cpu")
    command(log, "earwitness", "infer", model, TEST, out, *options)
    return out


def report(predictions: Path, other: Path | None = None) -> dict[str, Any]:
    """``evaluate_pairwise.py`` of a judge, and against another judge's predictions."""
    out = predictions.with_suffix(".json")
    words = ["--references", TEST, "--media-dir", DATA, "--predictions", predictions, "--json", out]
    if other is not None:
        words += ["--compare", other]
    command(predictions.with_suffix(".log"), "python", "scripts/my_infer/evaluate_pairwise.py", *words)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def interval(figure: dict[str, Any], digits: int = 1, factor: float = 100.0) -> str:
    """``51.2 [49.1, 53.3]``."""
    value, (low, high) = figure["value"] * factor, (bound * factor for bound in figure["ci"])
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
