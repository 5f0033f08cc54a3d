"""Does distillation move a judge towards an expert? The whole path of docs/distillation.md on tiny models, on a CPU.

    earwitness synth --out runs/demo/data
    earwitness tiny --out runs/demo/untrained --dataset demo_clips demo_pairs_train
    python benchmarks/distillation.py

A judge whose training on single clips was stopped early, and a text LLM that reads the ratings of a clip and writes
the answer. The judge answers 1,000 clips itself; then ``examples/judge/tiny_distill.yaml`` distils, with each loss.
The table compares the judge before and after on 200 of those clips that it was not trained on. Finished steps are
kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "runs/demo/distill"
UNTRAINED = ROOT / "runs/demo/untrained"
TEMPLATE = "examples/judge/expert_ratings.jinja"
CLIPS = 1000
EXPERT_FROM = 1200
"""The judge answers the first clips; the expert learns from those after."""
VARIANTS = (("dpo", 0.0), ("dpo", 4.0), ("kl", 0.0))
"""distill_loss and pref_ftx."""

EXPERT: dict[str, Any] = {
    "model_name_or_path": str(FOLDER / "expert_untrained"),
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "disable_gradient_checkpointing": True,
    "dataset": "ratings",
    "dataset_dir": str(FOLDER / "expert_data"),
    "template": "qwen",
    "cutoff_len": 512,
    "output_dir": str(FOLDER / "expert"),
    "logging_steps": 50,
    "save_strategy": "no",
    "report_to": "none",
    "per_device_train_batch_size": 16,
    "max_steps": 300,
    "learning_rate": 2.0e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 20,
}


def command(*words: str | Path) -> None:
    """Run a command of the environment this script runs in; its output goes to a log."""
    with (FOLDER / "log.txt").open("a") as log:
        subprocess.run(
            [Path(sys.executable).with_name(str(words[0])), *map(str, words[1:])],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            check=True,
        )


def prepare() -> None:
    """Train judge and expert, and let the judge answer."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not (FOLDER / "judge/config.json").exists():
        options = ("max_steps=40", "plot_loss=false", f"output_dir={FOLDER / 'judge'}")
        command("llamafactory-cli", "train", "examples/judge/tiny_clips.yaml", *options)
    if not (FOLDER / "expert/config.json").exists():
        write_expert_data()
        (FOLDER / "expert.yaml").write_text(yaml.safe_dump(EXPERT))
        command("llamafactory-cli", "train", FOLDER / "expert.yaml")
    data = (
        "--media-dir",
        "runs/demo/data",
        "--limit",
        str(CLIPS),
        "--max-new-tokens",
        "64",
        "--quiet",
        "--device",
        "cpu",
    )
    out = FOLDER / "preferences"
    judge = FOLDER / "judge"
    command("earwitness", "reject", judge, "demo_clips", out, *data, "--expert-template", TEMPLATE)


def write_expert_data() -> None:
    """Write what the expert learns from: ratings in, answer out, for clips that the judge is not asked about."""
    from earwitness.corpus.preferences import expert_prompt
    from earwitness.data.records import load_records
    from earwitness.files import write_json, write_jsonl
    from earwitness.tiny_text import build_tiny_text

    build_tiny_text(FOLDER / "expert_untrained", UNTRAINED)
    records = load_records("demo_clips", ROOT / "data", ROOT / "runs/demo/data")[EXPERT_FROM:]
    rows = [
        {"instruction": expert_prompt(record, str(ROOT / TEMPLATE)), "output": record.response} for record in records
    ]
    write_jsonl(FOLDER / "expert_data/ratings.jsonl", rows)
    entry = {"file_name": "ratings.jsonl", "columns": {"prompt": "instruction", "response": "output"}}
    write_json(FOLDER / "expert_data/dataset_info.json", {"ratings": entry})


def distil(loss: str, supervised: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of evaluation before the first and after the last step."""
    out = FOLDER / (f"{loss}_ftx" if supervised else loss)
    if not (out / "trainer_state.json").exists():
        options = (f"distill_loss={loss}", f"pref_ftx={supervised}", f"output_dir={out}")
        command("llamafactory-cli", "train", "examples/judge/tiny_distill.yaml", *options)
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    evaluated = [row for row in history if "eval_kl" in row]
    return evaluated[0], evaluated[-1]


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--prepare", action="store_true", help="stop before distilling")
    arguments = options.parse_args()
    prepare()
    if arguments.prepare:
        return
    print(
        "| distill_loss | pref_ftx | held-out KL(expert, judge), nats a token | on its text | margin "
        "| expert's text preferred |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for loss, supervised in VARIANTS:
        before, after = distil(loss, supervised)
        cells = [
            " -> ".join(f"{row[name]:.{digits}f}" for row in (before, after))
            for name, digits in (
                ("eval_kl", 3),
                ("eval_kl_chosen", 3),
                ("eval_rewards/margins", 2),
                ("eval_rewards/accuracies", 3),
            )
        ]
        print(f"| {loss} | {supervised:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
