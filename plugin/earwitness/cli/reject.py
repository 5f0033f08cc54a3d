"""``earwitness reject``: let an audio LLM answer, and set its answers against the expert's for distillation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from earwitness.cli import infer, run
from earwitness.errors import UserError

DESCRIPTION = """\
Let MODEL answer every record of DATASET, whose responses are an expert's texts, and write preference rows to the folder
OUT: the expert's text is chosen, MODEL's own answer rejected (ALLD). Options are those of 'earwitness infer'; answers
stay in OUT/predictions.jsonl, and an interrupted command goes on where it stopped.

Train on them with: dataset_dir: OUT, dataset: preferences, stage: dpo, expert_model: ...
"""


def _add_own(options: argparse.ArgumentParser) -> argparse.ArgumentParser:
    options.add_argument_group("preferences").add_argument(
        "--expert-template",
        metavar="NAME",
        help="template of the prompt that the expert reads; default: ALLD's for its judges, for others none: the "
        "expert reads the judge's prompt without clips",
    )
    return options


def parser() -> argparse.ArgumentParser:
    """The command line: that of ``infer`` and an option of our own."""
    options = infer.parser()
    options.prog, options.description = "earwitness reject", DESCRIPTION
    return _add_own(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input, or rows that failed.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(argv)
    if arguments.verdict_only:
        raise UserError("--verdict-only: distillation needs whole answers; remove it")
    if Path(arguments.out).suffix == ".jsonl":
        raise UserError(f"OUT: {arguments.out} must be a folder; it gets preferences.jsonl and dataset_info.json")
    _, for_infer = _add_own(argparse.ArgumentParser(add_help=False, allow_abbrev=False)).parse_known_args(argv)
    status = infer.main(for_infer)
    if status:
        return status

    from earwitness.corpus.preferences import FILE, write_preferences
    from earwitness.files import BadRows, read_rows

    with BadRows(skip=arguments.skip_bad) as bad:
        records = infer.load_records_of(arguments, bad)
    folder = Path(arguments.out)
    written = write_preferences(folder, records, read_rows(folder / "predictions.jsonl"), arguments.expert_template)
    left_out = "".join(f", {count} left out {reason}" for reason, count in written.left_out.items())
    print(f"{folder / FILE}: {written.rows} preferences{left_out}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
