"""``earwitness tables``: the tables of the papers in their own layout, from evaluation reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.errors import UserError
from earwitness.metrics.options import Parser, new_parser

FORMATS = ("text", "markdown", "latex", "json")

DESCRIPTION = """\
Print tables of the papers, filled from the JSON reports of evaluate_pairwise.py, evaluate_scores.py and
evaluate_detection.py.

  evaluate_tables.py --tables speecheval-6,speecheval-13 "my judge=runs/mine" base=det.json base=scores.json

RUN is NAME=PATH: a report, or a folder that holds some. A name given twice joins its reports. Cells without a figure
are dashes.

--published puts the papers' own rows above ours for SpeechEval and ALLD; SageLM's tables get a note of what its
abstract says. --published-file takes the rows of the tables that it names from a JSON file; the others are as with
--published. A row is what the table prints: a name, then for each column a number in the table's units or null.

  {"alld-mos": [["A model", 0.9, 0.9, 0.2, null]],
   "sagelm-semantic": [["A model Accuracy", 80.5, 79.1, null, 85], ["A model Agreement", 85.2, 84, null, 90]]}

tables: speecheval-4, -5, -6, -7, -13, -14; sagelm-semantic, sagelm-acoustic, sagelm-acoustic-split; alld-mos, alld-ab
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_tables.py", DESCRIPTION)
    options.add_argument("runs", nargs="+", metavar="RUN", help="NAME=PATH of a report or run folder")
    options.add_argument("--tables", required=True, metavar="NAMES", help="tables to print, with commas; or all")
    options.add_argument("--format", choices=FORMATS, default="text", help="default text")
    options.add_argument("--published", action="store_true", help="published figures beside ours")
    options.add_argument(
        "--published-file", metavar="FILE", help="JSON with published rows of your own; implies --published"
    )
    options.add_argument("--out", metavar="FILE", help="write here instead of printing")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments: argparse.Namespace = parser().parse_args(argv)
    from earwitness.files import atomic_write
    from earwitness.report.papers import LAYOUTS, has_figures, paper_table, read_results
    from earwitness.report.published import PUBLISHED
    from earwitness.report.published_file import read_published
    from earwitness.report.tables import WRITERS

    paths: dict[str, list[str]] = {}
    for text in arguments.runs:
        name, equals, path = text.partition("=")
        if not (name.strip() and equals and path):
            raise UserError(f"{text!r}: give NAME=PATH")
        paths.setdefault(name.strip(), []).append(path)
    models = {name: read_results(given) for name, given in paths.items()}
    if arguments.tables.strip() == "all":
        names = [name for name in LAYOUTS if has_figures(name, models)]
    else:
        names = [name.strip() for name in arguments.tables.split(",") if name.strip()]
    if not names:
        raise UserError("the reports hold no figure of any table")
    published = PUBLISHED if arguments.published else None
    if arguments.published_file is not None:
        published = {**PUBLISHED, **read_published(arguments.published_file)}
    tables = [paper_table(name, models, published=published) for name in names]
    if arguments.format == "json":
        import json

        text = json.dumps([table.to_json() for table in tables], ensure_ascii=False, indent=2, allow_nan=False)
    else:
        text = "\n\n".join(WRITERS[arguments.format](table) for table in tables)
    if arguments.out:
        with atomic_write(arguments.out) as file:
            file.write(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
