"""``earwitness decide``: combine both orders of a run, apply a fitted tie band or an abstention threshold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from earwitness.cli import run
from earwitness.errors import UserError

DESCRIPTION = """\
Decide the verdicts of a finished run anew from its label probabilities; no model is asked.

PREDICTIONS  what infer.sh wrote: a file or a run folder
OUT          the predictions with the new verdicts, readable by every evaluation
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="earwitness decide", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("predictions", metavar="PREDICTIONS")
    options.add_argument("out", metavar="OUT")
    options.add_argument("--combine", action="store_true", help="one verdict a record from both orders (default: off)")
    band = options.add_mutually_exclusive_group()
    band.add_argument(
        "--tie-band", type=float, default=0.0, metavar="X", help="tie where first and second differ by less"
    )
    band.add_argument(
        "--fit", metavar="PREDICTIONS", help="fit the tie band on these, a run on labelled validation data"
    )
    options.add_argument(
        "--abstain", type=float, default=0.0, metavar="P", help="unscored where the likeliest is below P"
    )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    for name in ("tie_band", "abstain"):
        if not 0.0 <= getattr(arguments, name) <= 1.0:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; allowed: 0 to 1")
    from earwitness.files import read_rows, write_jsonl
    from earwitness.infer.decide import combine_orders, fit_tie_band, redecide

    band = arguments.tie_band
    if arguments.fit:
        rows = list(read_rows(_file(arguments.fit)))
        band = fit_tie_band(list(combine_orders(rows)) if arguments.combine else rows)
        print(f"tie band {band:.6g}, fitted on {arguments.fit}")
    given = read_rows(_file(arguments.predictions))
    decided = [
        redecide(row, band, arguments.abstain) for row in (combine_orders(given) if arguments.combine else given)
    ]
    write_jsonl(arguments.out, decided)
    unscored = sum(row["verdict"] is None for row in decided)
    print(f"{arguments.out}: {len(decided)} rows, {unscored} unscored")
    return 0


def _file(path: str) -> Path:
    return Path(path, "predictions.jsonl") if Path(path).is_dir() else Path(path)


if __name__ == "__main__":
    sys.exit(run(main))
