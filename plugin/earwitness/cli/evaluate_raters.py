"""``earwitness evaluate-raters``: judge, evaluators and several people side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.errors import UserError
from earwitness.metrics.options import Parser, add_interval_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
Who agrees with whom: models (a judge, a text LLM as evaluator ...) and the single people behind the references. Every
two of them are compared, and the items on which they differ are listed, the first model's most confident first.

REFERENCES   a name in dataset_info.json or rows with id and verdict (--scores: and score)
--raters     their column with every rater's value: {"ann": "A", "ben": "tie"} or, without names, ["A", "tie"]
--model      NAME=RUN, again for each model: a run of infer.sh, or rows with id and verdict or text (--scores: or
             score); both orders of a run count as one
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_raters.py", DESCRIPTION)
    options.add_argument("--references", required=True, metavar="R", help="what people said")
    options.add_argument("--raters", required=True, metavar="COLUMN", help="column with single raters' values")
    options.add_argument(
        "--model", required=True, action="append", metavar="NAME=RUN", help="what a model said; the judge first"
    )
    options.add_argument("--scores", action="store_true", help="scores of clips instead of verdicts on pairs")
    options.add_argument("--dimension", metavar="NAME", help="with --scores: which of several dimensions")
    options.add_argument(
        "--scale", nargs=2, type=float, default=(1.0, 5.0), metavar=("LOW", "HIGH"), help="of scores (default 1 5)"
    )
    options.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json (default data)")
    options.add_argument("--media-dir", help="where relative clip paths start (default: as in infer.sh)")
    options.add_argument("--show", type=int, default=20, metavar="N", help="disagreements to print (default 20)")
    options.add_argument("--disagreements", metavar="OUT", help="write all of them to this JSONL file")
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.files import write_jsonl
    from earwitness.metrics.panel import Kind, panel_disagreements, panel_report
    from earwitness.metrics.panel_files import score_panel, verdict_panel
    from earwitness.metrics.panel_tables import panel_tables
    from earwitness.metrics.scales import Scale

    models: dict[str, str] = {}
    for text in arguments.model:
        name, equals, path = text.partition("=")
        if not (name.strip() and equals and path):
            raise UserError(f"--model {text!r}: give NAME=RUN")
        if name.strip() in models:
            raise UserError(f"--model {text!r}: {name.strip()!r} is named twice")
        models[name.strip()] = path
    if arguments.dimension is not None and not arguments.scores:
        raise UserError("--dimension goes with --scores")
    if arguments.scores:
        items, named = score_panel(
            arguments.references,
            arguments.raters,
            models,
            dimension=arguments.dimension,
            dataset_dir=arguments.dataset_dir,
            scale=Scale(*arguments.scale),
        )
    else:
        items, named = verdict_panel(
            arguments.references,
            arguments.raters,
            models,
            dataset_dir=arguments.dataset_dir,
            media_dir=arguments.media_dir,
        )
    kind: Kind = "scores" if arguments.scores else "verdicts"
    report = panel_report(items, kind, named=named, bootstrap=bootstrap_of(arguments))
    differing = panel_disagreements(items)
    report["disagreements"] = len(differing)
    if arguments.disagreements:
        write_jsonl(arguments.disagreements, differing)
    tables = panel_tables(report, differing[: max(0, arguments.show)], list(models))
    finish(report, [table.text() for table in tables], [], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
