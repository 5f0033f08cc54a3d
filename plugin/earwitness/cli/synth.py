"""Build the embedded corpus of synthetic speech with known degradations."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness synth ...``.

    Raises:
        UserError: counts out of range, a folder that holds something else, or too few clips for the pairs.
    """
    parser = argparse.ArgumentParser(
        prog="earwitness synth",
        description="Speak, degrade and pair clips with known truth, offline. Continues where it was interrupted.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder to write")
    for name, default in (("clips", (10000, 500, 1000)), ("pairs", (30000, 500, 1200))):
        metavar = ("TRAIN", "VAL", "TEST")
        parser.add_argument(
            f"--{name}", nargs=3, type=int, metavar=metavar, default=default, help=f"{name} in each split"
        )
    for name, seconds, both in (("mid", "2 to 12", (400, 2700)), ("long", "4 to 45", (160, 500))):
        parser.add_argument(
            f"--{name}",
            nargs=2,
            type=int,
            metavar=("CLIPS", "PAIRS"),
            default=both,
            help=f"training clips of {seconds} s of speech, and pairs of them",
        )
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; the result is the same")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(argv)

    from earwitness.data.synth.corpus import CorpusSpec, build

    spec = CorpusSpec(tuple(options.clips), tuple(options.pairs), tuple(options.mid), tuple(options.long), options.seed)
    out = build(spec, options.out, options.jobs, progress=not options.quiet)
    clips, pairs = (sum(counts) for counts in zip(*spec.groups.values(), strict=True))
    print(f"{out}: {clips} clips, {pairs} pairs")
    return 0


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
