"""How well ``earwitness analyze`` hears degradations of known severity, in voices and sentences it never met.

    python benchmarks/analysis.py            # check the packaged weights: prints the tables of docs/analysis.md
    python benchmarks/analysis.py --speech FOLDER    # the same on recordings of your own, degraded at known severities
    python benchmarks/analysis.py --fit      # fit them anew and write plugin/earwitness/analysis/signal.json first

Prints the Spearman correlation of every rating with every severity (sign turned: 1 is best on the diagonal), the
ratings of sounds without speech, and seconds per minute of audio. Exit status 1 where a figure misses its bound.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from earwitness.analysis import fit
from earwitness.analysis.ratings import DIMENSIONS, LOWEST
from earwitness.analysis.run import find_clips
from earwitness.analysis.signal import FITTED, SignalEngine
from earwitness.audio.reading import read_audio
from earwitness.files import write_json
from earwitness.report.tables import Column, Table

LEAST_OWN = 0.85
MOST_LEAKAGE = 0.3


def refit(count: int, checked: int, jobs: int) -> None:
    """Write the weights and what they reach."""
    weights = fit.fit(fit.known_clips("train", count, fit.FIT_SEED, jobs))
    clips = list(fit.known_clips("test", checked, fit.CHECK_SEED, jobs))
    reached = fit.check(clips, weights).to_json()
    write_json(FITTED, {"made": fit.made_of(count), "held_out": reached, "weights": weights.to_json()})
    print(f"{FITTED}: fitted on {count} clips")


def main() -> int:
    """Fit if asked, then check."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--fit", action="store_true", help="fit and write the weights first")
    options.add_argument("--clips", type=int, default=4000, help="clips to fit on (4000)")
    options.add_argument("--check-clips", type=int, default=1000, help="held-out clips (1000)")
    options.add_argument("--jobs", type=int, default=1, help="processes (1)")
    options.add_argument("--speech", metavar="FOLDER", help="degrade clean recordings of this folder instead")
    arguments = options.parse_args()
    if arguments.fit:
        refit(arguments.clips, arguments.check_clips, arguments.jobs)
    if arguments.speech:
        recordings = [read_audio(source.path) for source in find_clips([arguments.speech])]
        clips = list(fit.degraded_clips(recordings, arguments.check_clips, fit.CHECK_SEED))
    else:
        clips = list(fit.known_clips("test", arguments.check_clips, fit.CHECK_SEED, arguments.jobs))
    found = fit.check(clips)
    columns = [Column("rating"), *(Column(name) for name in fit.SEVERITIES)]
    rows = [[name, *(f"{value:+.3f}" for value in line)] for name, line in zip(DIMENSIONS, found.spearman, strict=True)]
    print(Table(columns, rows).text())
    print(f"{found.clips} held-out clips; no speech found in {found.unheard}")
    engine, bottom = SignalEngine(), True
    for name, sound in fit.extremes().items():
        ratings = engine.analyse(sound, 16_000).ratings
        bottom = bottom and set(ratings.values()) == {LOWEST}
        print(f"{name}: {', '.join(f'{key} {value:g}' for key, value in ratings.items())}")
    minute = np.tile(fit.extremes()["white noise"], 15)
    start = time.perf_counter()
    engine.analyse(minute, 16_000)
    print(f"{time.perf_counter() - start:.2f} s for a minute of audio")
    own, leakage = min(found.follows.values()), max(found.leakage.values())
    print(f"least own {own:.3f} (bound {LEAST_OWN}), most leakage {leakage:.3f} (bound {MOST_LEAKAGE})")
    return 0 if own >= LEAST_OWN and leakage <= MOST_LEAKAGE and bottom else 1


if __name__ == "__main__":
    sys.exit(main())
