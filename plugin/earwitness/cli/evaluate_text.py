"""``earwitness evaluate-text``: SBERT similarity and FENSE of a judge's texts and the annotators'."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from earwitness.cli import run
from earwitness.metrics.options import Parser, add_interval_options, add_text_options, bootstrap_of, finish, new_parser

DESCRIPTION = """\
How like the annotators' texts a judge's are, by sentence embeddings: SBERT similarity and FENSE (SpeechEval, table 4).

PREDICTIONS  a run of infer.sh (file or folder), ms-swift results, or rows with id and raw, response or predict
REFERENCES   a name in dataset_info.json or a file that infer.sh takes, joined by id; may be left out where the
             predictions carry the annotators' text (labels), with --task

Models come from a folder or the hub. Reasoning (<think>) is not compared, only answers. Needs the extra [text]:
pip install 'earwitness[text]'
"""


def parser() -> Parser:
    """The command line."""
    options = new_parser("evaluate_text.py", DESCRIPTION)
    add_text_options(options)
    options.add_argument("--sbert", metavar="MODEL", help="sentence-transformers model (default: that of FENSE)")
    options.add_argument(
        "--checker",
        metavar="NAME|FILE",
        help="fluency checker of FENSE: echecker_clotho_audiocaps_base (default), echecker_clotho_audiocaps_tiny, a "
        "file of that form, or none for SBERT alone",
    )
    options.add_argument("--checker-encoder", metavar="MODEL", help="encoder of a checker file (default: as it says)")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input, or a model that cannot be had.
    """
    arguments = parser().parse_args(argv)
    from earwitness.metrics.similarity import CHECKERS, SBERT_MODEL, SimilarityModels
    from earwitness.metrics.text_files import read_texts
    from earwitness.metrics.text_report import similarity_report, text_tables

    bootstrap = bootstrap_of(arguments)
    cases = read_texts(
        arguments.predictions,
        arguments.references,
        dataset_dir=arguments.dataset_dir,
        media_dir=arguments.media_dir,
        task=arguments.task,
    )
    checker = None if arguments.checker == "none" else arguments.checker or CHECKERS[0]
    models = SimilarityModels(arguments.sbert or SBERT_MODEL, checker, arguments.checker_encoder, arguments.device)
    report = similarity_report(cases, models, bootstrap=bootstrap)
    finish(report, [table.text() for table in text_tables(report)], [], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
