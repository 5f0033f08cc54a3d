"""``earwitness evaluate-lscore``: a text LLM scores a judge's texts against the annotators'."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from earwitness.cli import run
from earwitness.metrics.options import Parser, add_interval_options, add_text_options, bootstrap_of, finish, new_parser

if TYPE_CHECKING:
    from earwitness.llm.lscore import LScore
    from earwitness.metrics.text_files import TextCase

DESCRIPTION = """\
A text LLM scores a judge's texts against the annotators' (SpeechEval, tables 4 and 7): LScore from 0 to 10 and, of
comparisons, whether both conclude the same in each of eight dimensions. With --dimensions it also reads seven scores
and the speech rate out of assessments, which are compared with people's (tables 5 and 13).

PREDICTIONS  a run of infer.sh (file or folder), ms-swift results, or rows with id and raw, response or predict
REFERENCES   a name in dataset_info.json or a file that infer.sh takes, joined by id; may be left out where the
             predictions carry the annotators' text (labels), with --task

Replies are kept in the cache: after an interruption, or where some requests failed, the same command asks only for what
is missing. Exit status: 0 all graded, 1 the evaluator failed on some texts (they are unscored), 2 wrong input.
"""


def parser() -> Parser:
    """The command line."""
    from earwitness.llm.options import add_endpoint_options

    options = new_parser("evaluate_lscore.py", DESCRIPTION)
    add_text_options(options)
    options.add_argument("--dimensions", action="store_true", help="read dimension scores out of assessments")
    options.add_argument("--rows", metavar="OUT", help="write what the evaluator said of each text to this JSONL file")
    options.add_argument("--cache", metavar="DIR", help="request cache (default: PREDICTIONS.lscore)")
    options.add_argument("--quiet", action="store_true", help="no progress bar")
    add_endpoint_options(options)
    add_interval_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.files import write_jsonl
    from earwitness.infer.progress import progress
    from earwitness.llm.client import ChatClient
    from earwitness.llm.lscore import extract_dimensions, lscore
    from earwitness.llm.options import endpoint_of
    from earwitness.metrics.score_files import read_ratings
    from earwitness.metrics.score_report import score_report, score_tables
    from earwitness.metrics.text_files import read_texts
    from earwitness.metrics.text_report import lscore_report, text_tables, with_extracted
    from earwitness.rewards.criteria import Material

    bootstrap = bootstrap_of(arguments)
    source = {"references": arguments.references, "dataset_dir": arguments.dataset_dir}
    cases = read_texts(arguments.predictions, **source, media_dir=arguments.media_dir, task=arguments.task)
    assessed = [one for one in cases if one.task == "Assessment"] if arguments.dimensions else []
    ratings = read_ratings(arguments.predictions, **source) if assessed else []
    cache = arguments.cache or f"{arguments.predictions.rstrip('/')}.lscore"
    chat = ChatClient(endpoint_of(arguments, cache))
    texts = [one.case.answer if isinstance(one.case, Material) else None for one in assessed]
    requests = sum(isinstance(one.case, Material) for one in cases) + sum(text is not None for text in texts)
    with progress("asking", requests, quiet=arguments.quiet) as advance:

        def ended(*_: object) -> None:
            advance(1)

        scores = lscore([one.case for one in cases], chat, ended)
        found = extract_dimensions(texts, chat, ended)
    report: dict[str, Any] = lscore_report(cases, scores, bootstrap=bootstrap)
    tables = text_tables(report)
    if assessed:
        extracted = score_report(with_extracted(ratings, assessed, found), bootstrap=bootstrap)
        tables += score_tables(extracted)
        report["extracted"] |= {name: value for name, value in extracted.items() if name not in ("rows", "systems")}
    report["evaluator"] = {"model": arguments.model, "base_url": arguments.base_url}
    if arguments.rows:
        dimensions = {id(one): each for one, each in zip(assessed, found, strict=True)}
        write_jsonl(
            arguments.rows,
            (_row(one, score, dimensions.get(id(one))) for one, score in zip(cases, scores, strict=True)),
        )
    usage = chat.usage
    notes = [
        f"{usage.requests} requests, {usage.cached} from the cache, {usage.retries} retries, {usage.failed} failed, "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens" + (f", cost {usage.cost:.4f}" if usage.cost else "")
    ]
    finish(report, [table.text() for table in tables], notes, arguments.json)
    if usage.failed:
        print(f"{usage.failed} requests failed; the same command asks for them again", file=sys.stderr)
    return 1 if usage.failed else 0


def _row(case: TextCase, score: LScore, found: Any) -> dict[str, Any]:
    row = {"row": case.row, "id": case.id, "order": case.order, "task": case.task, **vars(score)}
    return row if found is None else row | {"dimensions": found.values, "dimensions_unscored": found.unscored}


if __name__ == "__main__":
    sys.exit(run(main))
