"""``earwitness evaluate-named``: areas, distortions, intervals and preferences that a judge's texts name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.errors import UserError
from earwitness.metrics.options import Parser, add_interval_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
Whether a judge's texts name what the references name: areas of improvement, kinds of distortion, their intervals, and
the preference in each dimension. Both are read by the judge's own parser; no model is needed.

PREDICTIONS  a run of infer.sh (file or folder)
REFERENCES   a name in dataset_info.json or a file that infer.sh takes, joined by id
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_named.py", DESCRIPTION)
    options.add_argument("--predictions", required=True, metavar="P", help="what the judge wrote")
    options.add_argument("--references", required=True, metavar="R", help="what is true")
    options.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json (default data)")
    options.add_argument("--media-dir", help="where relative clip paths start (default: as in infer.sh)")
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.metrics.named import named_report, named_table, read_named

    bootstrap = bootstrap_of(arguments)
    cases = read_named(
        arguments.predictions, arguments.references, dataset_dir=arguments.dataset_dir, media_dir=arguments.media_dir
    )
    report = named_report(cases, bootstrap)
    if not report["names"]:
        raise UserError(f"{arguments.references}: the references name no area, distortion or preference")
    finish(report, [named_table(report).text()], [], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
