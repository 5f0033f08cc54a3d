"""Check datasets: every row and every clip, labels, leaks and lengths, before anything is trained."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from earwitness.errors import UserError

DESCRIPTION = """\
Validate dataset_info.json, read every row of DATASET (names in it) and every clip, and report what is missing, broken,
silent, clipped, too short or too long, repeated, shared between training and test sets (also under another name or in
another lossless format), labels out of the menu, placeholders that do not match, rows that cutoff_len would cut, the
balance of labels and positions, and how long clips and rows are.

Exit status: 0 nothing is wrong or warnings only, 1 errors, 2 a dataset does not exist.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="earwitness check",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument("datasets", nargs="*", metavar="DATASET")
    options.add_argument("--all", action="store_true", help="every dataset of dataset_info.json that has audio")
    options.add_argument("--dataset-dir", default="data", metavar="DIR", help="folder of dataset_info.json (data)")
    options.add_argument("--media-dir", metavar="DIR", help="where relative clip paths start (--dataset-dir)")
    options.add_argument(
        "--family",
        choices=("qwen2_5_omni", "qwen2_audio", "qwen3_omni"),
        default="qwen2_5_omni",
        help="model family that is to hear the clips: says how short and long they may be (qwen2_5_omni)",
    )
    options.add_argument(
        "--model", metavar="MODEL", help="model whose tokenizer counts text too, and whose extractor sets the limit"
    )
    options.add_argument("--template", help="chat template of LLaMA-Factory, with --model (that of its family)")
    options.add_argument("--cutoff-len", type=int, default=2048, metavar="N", help="most tokens of a row (2048)")
    options.add_argument(
        "--overlong",
        choices=("error", "skip", "truncate"),
        help="what is to happen to clips beyond the model's limit (EARWITNESS_OVERLONG, else error)",
    )
    options.add_argument("--jobs", type=int, metavar="N", help="processes that read clips (all processors)")
    options.add_argument("--json", action="store_true", help="print JSON for machines")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: no such dataset, or an option that is not allowed.
    """
    arguments = parser().parse_args(argv)
    if bool(arguments.datasets) == arguments.all:
        raise UserError("earwitness check: name datasets, or give --all for every one with audio")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; must be 1 or more")
    from earwitness.data.check import audio_datasets, check_datasets, other_problems
    from earwitness.data.check_report import to_json, to_text

    names, skipped = audio_datasets(arguments.dataset_dir) if arguments.all else (arguments.datasets, [])
    checks = check_datasets(list(dict.fromkeys(names)), _options(arguments), _progress)
    report = to_json(checks, skipped, other_problems(names, arguments.dataset_dir))
    print(json.dumps(report, ensure_ascii=False, indent=2) if arguments.json else to_text(report))
    return 1 if report["errors"] else 0


def _options(arguments: argparse.Namespace) -> Any:
    from earwitness.audio.limits import overlong_policy
    from earwitness.data.check import CheckOptions

    family, prompts = arguments.family, None
    if arguments.model:
        from earwitness.infer.model import TEMPLATES, find_model
        from earwitness.infer.prompting import HostPrompts

        files = find_model(arguments.model)
        family, prompts = files.family, HostPrompts(files.weights, arguments.template or TEMPLATES[files.family])
    elif arguments.template:
        raise UserError("--template needs --model: without a tokenizer, text is not counted")
    return CheckOptions(
        dataset_dir=arguments.dataset_dir,
        media_dir=arguments.media_dir,
        family=family,
        prompts=prompts,
        cutoff_len=arguments.cutoff_len,
        overlong=arguments.overlong or overlong_policy(),
        jobs=arguments.jobs or len(os.sched_getaffinity(0)),
    )


def _progress(things: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(things, total=total, desc=what, disable=None, leave=False)  # None: only on a terminal
