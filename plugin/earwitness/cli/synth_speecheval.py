"""Build synthetic SpeechEval: assessment, comparison, suggestion and detection with known truth."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

DESCRIPTION = """\
Speak, distort and resynthesise clips offline, and write the four tasks of SpeechEval about them, in four languages:
scores from severities, distortion types with their intervals, suggestions that follow from the causes, and fake clips
from a vocoder. The entries synth_* of data/dataset_info.json read what this writes to runs/speecheval/data.
Continues where it was interrupted.
"""


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness synth-speecheval ...``.

    Raises:
        UserError: counts out of range, a folder that holds something else, or too few clips for the pairs.
    """
    parser = argparse.ArgumentParser(
        prog="earwitness synth-speecheval",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    sets = {
        "clips": ((10000, 100, 500), "clips for assessment and suggestion"),
        "pairs": ((24000, 100, 500), "pairs of them for comparison"),
        "detection": ((4000, 100, 500), "real and fake clips"),
        "mixed": ((10000, 0, 0), "clips with several distortions at once, to learn to rate"),
    }
    for name, (default, words) in sets.items():
        shown = f"{words} ({' '.join(map(str, default))})"
        metavar = ("TRAIN", "VAL", "TEST")
        parser.add_argument(f"--{name}", nargs=3, type=int, metavar=metavar, default=default, help=shown)
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; the result is the same (all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)

    from earwitness.data.synth_speecheval.build import TASKS, TasksSpec, build

    spec = TasksSpec(**{name: tuple(getattr(options, name)) for name in sets}, seed=options.seed)
    out = build(spec, options.out, options.jobs, progress=not options.quiet)
    clips = sum(spec.clips) + sum(spec.detection) + sum(spec.mixed)
    print(f"{out}: {', '.join(TASKS)}; {clips} clips, {sum(spec.pairs)} pairs")
    return 0


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
