"""``earwitness evaluate-scores``: PCC, SRCC, Kendall's tau-b, MSE and speech-rate accuracy of ratings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.metrics.options import Parser, add_interval_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
How a judge's scores follow people's, by dimension: PCC, SRCC, Kendall's tau-b, MSE, at clip and system level.

PREDICTIONS may be a run of infer.sh, ms-swift results, LLaMA-Factory's generated_predictions.jsonl, or rows with id and
score, scores or a text. Ratings are read from numbers, from lines such as "Distortion: 2/5", or as the MOS that a
description ends with. REFERENCES (a file or a name in dataset_info.json) are joined by id; they may be left out where
the predictions carry them.
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_scores.py", DESCRIPTION)
    options.add_argument("--predictions", required=True, metavar="P", help="what the judge gave")
    options.add_argument("--references", metavar="R", help="human ratings by id")
    options.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json (default data)")
    options.add_argument(
        "--scale",
        nargs=2,
        type=float,
        default=(1.0, 5.0),
        metavar=("LOW", "HIGH"),
        help="range of scores (default 1 5)",
    )
    options.add_argument("--levels", metavar="WORDS", help="words from worst to best instead, with commas")
    options.add_argument("--system", metavar="COLUMN", help="also figures over the systems that this column names")
    options.add_argument("--cluster", metavar="COLUMN", help="rows with equal values here are drawn together")
    options.add_argument(
        "--bleu", nargs="?", const="13a", metavar="TOKENIZER", help="BLEU of the texts: 13a (default), zh, char, intl"
    )
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.metrics.scales import Scale
    from earwitness.metrics.score_files import read_ratings
    from earwitness.metrics.score_report import score_report, score_tables

    levels = tuple(word.strip() for word in arguments.levels.split(",")) if arguments.levels else ()
    scale = Scale(arguments.scale[0], arguments.scale[1], levels)
    bootstrap = bootstrap_of(arguments)
    ratings = read_ratings(arguments.predictions, arguments.references, dataset_dir=arguments.dataset_dir, scale=scale)
    report = score_report(
        ratings, system=arguments.system, cluster=arguments.cluster, tokenize=arguments.bleu, bootstrap=bootstrap
    )
    finish(report, [table.text() for table in score_tables(report)], [], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
