"""Command-line options that every evaluation shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from earwitness.errors import UserError

if TYPE_CHECKING:
    from earwitness.metrics.intervals import Bootstrap


class Parser(argparse.ArgumentParser):
    """A parser whose usage errors are one line and carry exit status 2 through ``UserError``."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UserError(f"{self.prog}: {message}; see {self.prog} --help")


def new_parser(prog: str, description: str) -> Parser:
    """A parser that keeps the description's lines and takes no abbreviated options."""
    formatter = argparse.RawDescriptionHelpFormatter
    return Parser(prog=prog, description=description, formatter_class=formatter, allow_abbrev=False)


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which texts are compared."""
    parser.add_argument("--predictions", required=True, metavar="P", help="what the judge wrote")
    parser.add_argument("--references", metavar="R", help="what the annotators wrote, by id")
    parser.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json (default data)")
    parser.add_argument("--media-dir", help="where relative clip paths start (default: as in infer.sh)")
    parser.add_argument("--task", help="of rows that do not name it: assessment, comparison or suggestion")


def add_interval_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--resamples``, ``--seed`` and ``--level``."""
    parser.add_argument("--json", metavar="OUT", help="also write every figure to this JSON file")
    parser.add_argument(
        "--resamples", type=int, default=10_000, help="bootstrap resamples of the intervals, 0 for none (default 10000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    parser.add_argument("--level", type=float, default=0.95, help="coverage of the intervals (default 0.95)")


def bootstrap_of(arguments: argparse.Namespace) -> Bootstrap:
    """The bootstrap that the options ask for.

    Raises:
        UserError: a value out of range.
    """
    from earwitness.metrics.intervals import Bootstrap

    if arguments.seed < 0:
        raise UserError(f"--seed must be 0 or more, not {arguments.seed}")
    return Bootstrap(arguments.resamples, arguments.level, arguments.seed)


def finish(report: dict[str, Any], tables: Iterable[str], notes: Iterable[str], json_path: str | None) -> None:
    """Print tables to stdout and notes to stderr, and write the report where ``--json`` asks for it."""
    from earwitness.files import write_json
    from earwitness.metrics.figures import to_json

    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print("\n\n".join(tables))
    if json_path:
        write_json(json_path, to_json(report))
