"""What ``cot_loss_weight`` does: stage 2 of the tiny judge with different weights of the thinking, on a CPU.

    earwitness synth --out runs/demo/data
    earwitness tiny --out runs/demo/untrained --dataset demo_clips demo_pairs_train
    llamafactory-cli train examples/judge/tiny_clips.yaml
    python benchmarks/cot_weight.py

Trainings differ in nothing else. Every judge answers the test pairs in both orders; the ratings in its thinking are
compared with those in the test set, its verdict with the test set's. Rows about the same clips are drawn together.
Finished steps are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tiny_runs import DATA, ROOT, TEST, interval, judge, train

from earwitness.data.records import Record, load_records
from earwitness.files import read_rows
from earwitness.judges.sections import split_response
from earwitness.metrics.duels import paired_difference
from earwitness.metrics.means import mean_figure
from earwitness.rewards.facts import GRID, ratings

FOLDER = ROOT / "runs/demo/cot_weight"
RUN = ("max_steps=400", "max_samples=8000", "plot_loss=false")
FIGURES = ("rating exact", "error of a rating", "verdict right")


def _ratings(text: str, record: Record) -> dict[str, float]:
    """Ratings from 0 to 9 in the thinking of an answer."""
    found = ratings(split_response(text, True).thinking or "", record.judge.clip_names)
    return {name: position * GRID for name, position in found.items()}


def gains(predictions: Path) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield the pair of clips and the figures of each answer; a rating that was not written is wrong, by the most."""
    records = {record.id: record for record in load_records(TEST, ROOT / "data", ROOT / DATA)}
    for row in read_rows(predictions):
        record = records[row["id"]]
        shown = record.swapped() if row["order"] == "ba" else record
        truth, given = _ratings(shown.response or "", record), _ratings(row["raw"], record)
        errors = [abs(rating - given[name]) if name in given else 9.0 for name, rating in truth.items()]
        exact = sum(error < 0.5 for error in errors) / len(errors)
        right = float(row["verdict"] == record.reference)
        yield " ".join(sorted(record.audios)), (exact, sum(errors) / len(errors), right)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--weights", type=float, nargs=2, default=[0.1, 4.0])
    arguments = options.parse_args()
    columns = []
    print(f"| cot_loss_weight | {' | '.join(FIGURES)} |")
    print("| --- | --- | --- | --- |")
    for weight in arguments.weights:
        out = FOLDER / f"{weight:g}".replace(".", "_")
        train("tiny_sft", out, *RUN, f"cot_loss_weight={weight}")
        clusters, rows = zip(*gains(judge(out)), strict=True)
        columns.append(list(zip(*rows, strict=True)))
        shown = [
            interval(mean_figure(values, clusters=clusters).to_json(), 2, 1 if name == FIGURES[1] else 100)
            for name, values in zip(FIGURES, columns[-1], strict=True)
        ]
        print(f"| {weight:g} | {' | '.join(shown)} |", flush=True)
    differences = [
        interval(paired_difference(high, low, clusters=clusters).to_json(), 2, 1 if name == FIGURES[1] else 100)
        for name, low, high in zip(FIGURES, *columns, strict=True)
    ]
    print(f"| difference | {' | '.join(differences)} |\n\n{len(rows)} answers, {len(set(clusters))} pairs of clips")


if __name__ == "__main__":
    main()
