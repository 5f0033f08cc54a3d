"""``earwitness evaluate-pairwise``: Accuracy, Agreement and the trust figures of pairwise verdicts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.errors import UserError
from earwitness.metrics.options import Parser, add_interval_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
What pairwise verdicts are worth: Accuracy and Agreement (SageLM) by aspect and overall, with intervals; swap
consistency, position bias, calibration.

REFERENCES   a name in dataset_info.json, SageLM's JSON, rows with audio_a, audio_b and winner, or rows with id and
             reference (first, second, tie)
PREDICTIONS  a run of infer.sh (file or folder), LLaMA-Factory's generated_predictions.jsonl, or rows with id and
             predict

Unscored predictions count as wrong; "scored only" leaves them out. Predictions are paired by id. Files without ids are
paired by order, and only if their prompts and labels agree with the references.
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_pairwise.py", DESCRIPTION)
    options.add_argument("--references", required=True, metavar="R", help="what people said")
    options.add_argument("--predictions", required=True, metavar="P", help="what the judge said")
    options.add_argument("--compare", metavar="P", help="predictions of another judge, for a paired test")
    options.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json (default data)")
    options.add_argument("--media-dir", help="where relative clip paths start (default: as in infer.sh)")
    options.add_argument(
        "--join", choices=("auto", "id", "order"), default="auto", help="how to pair; order is unchecked (default auto)"
    )
    options.add_argument(
        "--strict", action="store_true", help="read verdicts from the first line only, where texts are yet to be read"
    )
    options.add_argument(
        "--cluster",
        default="pair",
        metavar="WHAT",
        help="drawn together in resamples: pair (of clips), row, or a column of the references (default pair)",
    )
    options.add_argument(
        "--by", action="append", default=[], metavar="COLUMN[:EDGES]", help="break down by a column, gap:0.25,0.5,1"
    )
    options.add_argument("--raters", metavar="COLUMN", help="column with a list of single raters' verdicts")
    options.add_argument(
        "--systems", metavar="A,B", help="columns with the systems of both clips (system_a,system_b), to rank systems"
    )
    options.add_argument(
        "--disagreements", metavar="OUT", help="write the judgements that differ to JSONL, the most confident first"
    )
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.files import write_jsonl
    from earwitness.metrics.breakdown import Breakdown
    from earwitness.metrics.joining import join
    from earwitness.metrics.pairwise_files import load_predictions, load_references
    from earwitness.metrics.pairwise_report import PairwiseOptions, disagreements, duel, pairwise_report
    from earwitness.metrics.pairwise_tables import ranking_table, trust_table, verdict_table

    systems = tuple(arguments.systems.split(",")) if arguments.systems else None
    if systems is not None and len(systems) != 2:
        raise UserError(f"--systems {arguments.systems!r}: give two columns with a comma, such as system_a,system_b")
    breakdowns = [Breakdown.parse(text) for text in arguments.by]
    options = PairwiseOptions(arguments.cluster, breakdowns, arguments.raters, systems, bootstrap_of(arguments))
    references = load_references(arguments.references, arguments.dataset_dir, arguments.media_dir)

    joined, other = (
        None
        if source is None
        else join(references, load_predictions(source), by=arguments.join, strict=arguments.strict)
        for source in (arguments.predictions, arguments.compare)
    )
    assert joined is not None
    report = pairwise_report(joined, options)
    if other is not None:
        report["duel"] = duel(joined, other, options)
    notes = [f"paired by {joined.method}", *joined.notes, *(other.notes if other else ())]
    if arguments.disagreements:
        write_jsonl(arguments.disagreements, disagreements(joined))
    tables = [verdict_table(report), trust_table(report)]
    if "ranking" in report:
        tables.append(ranking_table(report["ranking"]))
    finish(report, [table.text() for table in tables], notes, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
