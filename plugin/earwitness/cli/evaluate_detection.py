"""``earwitness evaluate-detection``: EER, minDCF, accuracy and DET points of real-or-fake predictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.errors import UserError
from earwitness.metrics.options import Parser, add_interval_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
How well a judge tells real speech from fake: EER in the reference's definition and tie-aware, minDCF, accuracy.

PREDICTIONS may be a run of infer.sh, ms-swift results with log-probabilities, rows with id, label and score (higher is
more real), LLaMA-Factory's generated_predictions.jsonl (accuracy only), or a text score file such as
"speaker utterance score prediction label key".
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_detection.py", DESCRIPTION)
    options.add_argument("--predictions", required=True, metavar="FILE", help="judged clips")
    options.add_argument("--references", metavar="FILE", help="labels by clip id, where predictions carry none")
    options.add_argument(
        "--by", default="", metavar="NAMES", help="break down by these columns, with commas: language,source"
    )
    options.add_argument("--cluster", metavar="NAME", help="clips with equal values here are drawn together: speaker")
    options.add_argument("--p-spoof", type=float, default=0.05, help="prior of a fake clip in minDCF (default 0.05)")
    options.add_argument("--c-miss", type=float, default=1.0, help="cost of rejecting a real clip (default 1)")
    options.add_argument("--c-fa", type=float, default=10.0, help="cost of accepting a fake clip (default 10)")
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.metrics.detection import CostModel
    from earwitness.metrics.detection_files import read_clips, with_references
    from earwitness.metrics.detection_report import detection_report, detection_table

    bootstrap = bootstrap_of(arguments)
    if not 0 < arguments.p_spoof < 1 or arguments.c_miss <= 0 or arguments.c_fa <= 0:
        raise UserError("--p-spoof must lie between 0 and 1, --c-miss and --c-fa above 0")
    clips = read_clips(arguments.predictions)
    if arguments.references:
        clips = with_references(clips, read_clips(arguments.references), arguments.references)
    if all(clip.label is None for clip in clips):
        raise UserError(f"{arguments.predictions}: no clip is labelled real or fake; give labels with --references")
    names = [name.strip() for name in arguments.by.split(",") if name.strip()]
    for name in filter(None, [*names, arguments.cluster]):
        if not any(name in clip.groups for clip in clips):
            known = ", ".join(sorted({key for clip in clips for key in clip.groups})) or "none"
            raise UserError(f"{arguments.predictions}: no clip has {name!r}; there are: {known}")
    cost = CostModel(arguments.p_spoof, arguments.c_miss, arguments.c_fa)
    report = detection_report(clips, by=names, cluster=arguments.cluster, cost=cost, bootstrap=bootstrap)
    finish(report, [detection_table(report).text()], [], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
