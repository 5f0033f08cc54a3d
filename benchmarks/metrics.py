"""Figures with intervals at the size of SpeechEval's test set: 35,130 rows, 10,000 resamples.

    python benchmarks/metrics.py

Prints seconds of wall clock and of processor time for each family of figures, on synthetic rows; the exit status is 1
where a family takes more than 5 s of the processor. Every family is resampled in full (rankings fit each resample anew
and draw no more than 2,000); the last row is the whole of evaluate_pairwise.py on two files, reading included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earwitness.cli.evaluate_pairwise import main as evaluate_pairwise
from earwitness.metrics.agreement import cohen_kappa, krippendorff_alpha
from earwitness.metrics.calibration import confidence_figures
from earwitness.metrics.detection import detection_figures
from earwitness.metrics.duels import paired_difference
from earwitness.metrics.intervals import Bootstrap
from earwitness.metrics.ranking import Match, rank_systems
from earwitness.metrics.scores import score_figures
from earwitness.metrics.verdicts import VERDICTS, verdict_figures
from earwitness.report.tables import Column, Table

TARGET = 5.0
"""Seconds of the processor that a family may take; a machine with nothing else to do needs no more of the clock."""


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall clock and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def write_files(folder: Path, references: list[str], verdicts: list[str]) -> list[str]:
    """Write references and a run; return the arguments of evaluate_pairwise.py."""
    rng = random.Random(1)
    with (folder / "r.jsonl").open("w") as r, (folder / "p.jsonl").open("w") as p:
        for row, (reference, verdict) in enumerate(zip(references, verdicts, strict=True)):
            aspect, share = f"aspect {row % 8}", rng.uniform(0.4, 0.98)
            r.write(json.dumps({"id": f"r{row}", "aspect": aspect, "reference": reference}) + "\n")
            shares = dict.fromkeys(VERDICTS, (1 - share) / 2) | {verdict: share}
            line = {"id": f"r{row}", "aspect": aspect, "order": "ab", "verdict": verdict, "probabilities": shares}
            p.write(json.dumps(line | {"audios": [f"a{row // 4}.wav", f"b{row // 4}.wav"]}) + "\n")
    return ["--references", str(folder / "r.jsonl"), "--predictions", str(folder / "p.jsonl")]


def main() -> int:
    """Run every family once and print the table; 1 where one takes too long."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=35_130)
    options.add_argument("--resamples", type=int, default=10_000)
    arguments = options.parse_args()
    n, bootstrap = arguments.rows, Bootstrap(arguments.resamples)
    rng = np.random.default_rng(0)
    references = rng.choice(VERDICTS, n).tolist()
    verdicts = np.where(rng.random(n) < 0.7, references, rng.choice(VERDICTS, n)).tolist()
    clusters = (np.arange(n) // 4).tolist()
    ratings = rng.integers(2, 11, n) / 2
    given = ratings + rng.normal(size=n)
    confidences = rng.uniform(0.4, 1, n).tolist()
    right = [reference == verdict for reference, verdict in zip(references, verdicts, strict=True)]
    real = rng.random(n) < 0.2
    raters = [np.where(rng.random(n) < 0.7, references, rng.choice(VERDICTS, n)).tolist() for _ in range(3)]
    pairs = np.stack([rng.integers(0, 8, n), rng.integers(1, 8, n)], axis=1).tolist()
    matches = [Match(f"s{a}", f"s{(a + b) % 8}", verdict) for (a, b), verdict in zip(pairs, verdicts, strict=True)]
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name), references, verdicts)

        def command() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                evaluate_pairwise([*files, "--resamples", str(arguments.resamples)])

        families: dict[str, Callable[[], object]] = {
            "accuracy, agreement, coverage": lambda: verdict_figures(references, verdicts, bootstrap=bootstrap),
            "the same, clustered by pair": lambda: verdict_figures(
                references, verdicts, clusters=clusters, bootstrap=bootstrap
            ),
            "PCC, SRCC, tau-b, MSE (half steps)": lambda: score_figures(
                ratings.tolist(), (np.round(given * 2) / 2).tolist(), bootstrap=bootstrap
            ),
            "PCC, SRCC, tau-b, MSE (continuous)": lambda: score_figures(
                ratings.tolist(), given.tolist(), bootstrap=bootstrap
            ),
            "kappa": lambda: cohen_kappa(references, verdicts, bootstrap=bootstrap),
            "Krippendorff's alpha, 3 raters": lambda: krippendorff_alpha(
                list(zip(*raters, strict=True)), bootstrap=bootstrap
            ),
            "paired difference of two judges": lambda: paired_difference(right, confidences, bootstrap=bootstrap),
            "Bradley-Terry, 8 systems": lambda: rank_systems(matches, bootstrap=bootstrap),
            "ECE, AURC": lambda: confidence_figures(confidences, right, bootstrap=bootstrap),
            "EER, minDCF (continuous)": lambda: detection_figures(
                rng.normal(size=n) + 2 * real, real.tolist(), bootstrap=bootstrap
            ),
            "evaluate_pairwise.py, all of it": command,
        }
        seconds = {name: timed(work) for name, work in families.items()}
    rows = [[name, *(f"{value:.2f}" for value in both)] for name, both in seconds.items()]
    title = f"{n} rows, {arguments.resamples} resamples (each is to take less than {TARGET:g} s)"
    print(Table([Column("figures"), Column("wall s"), Column("CPU s")], rows, title).text())
    return int(any(processor > TARGET for _, processor in seconds.values()))


if __name__ == "__main__":
    sys.exit(main())
