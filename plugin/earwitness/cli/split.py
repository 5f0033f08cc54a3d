"""Split rows into train, val and test that share no clip, speaker, system or text, and prove it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earwitness.data.split_plan import SplitPlan

_EXAMPLES = """examples:
  earwitness split data/pairs.jsonl data/clips.jsonl --out data/split --seed 1 --balance-order
  earwitness split data/bvcc.jsonl --out data/split --disjoint system,text --conflicts drop
  earwitness split data/detect.jsonl --out data/split --plan plan.json
  earwitness split --check data/split

A plan file is a JSON object with any of rules, ratio, detection, disjoint, conflicts, tolerance, balance_order,
balance_labels and seed. Its rules give sources their own shares; the first that matches counts. As Appendix C.1 of the
SpeechEval paper has it, some spoofing systems are seen in training and validation and others only in the test:
  {"rules": [{"match": {"task": "detect", "system": "A0[1-4]"}, "ratio": [5, 5, 0], "disjoint": ["speaker", "text"]},
             {"match": {"task": "detect", "verdict": "fake"}, "ratio": [0, 0, 10]},
             {"match": {"task": "detect", "source": "Aishell3"}, "ratio": [4, 2, 4]}]}"""


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness split ...``.

    Raises:
        UserError: wrong options, a file that cannot be read, rows that cannot be separated, or a split that leaks.
    """
    options = _parser().parse_args(argv)

    from earwitness.data.splits import check_splits, split_files
    from earwitness.errors import UserError

    if options.check is not None:
        if options.files or options.out:
            raise UserError("--check takes the folder of a split and nothing else")
        print(_table(check_splits(options.check)))
        print(f"{options.check}: no clip, id or value kept apart is in two splits")
        return 0
    if not options.files or options.out is None:
        raise UserError("name the files to split and --out FOLDER, or --check FOLDER")
    manifest = split_files(options.files, options.out, _plan(options))
    for name, entry in manifest["files"].items():
        print(f"{options.out / name}: {entry['rows']} rows", file=sys.stderr)
    lost = {reason: count for reason, count in manifest["dropped"].items() if count}
    print(f"dropped: {lost or 'none'}; swapped: {manifest['swapped']}", file=sys.stderr)
    print(_table(manifest["check"]))
    if entries := _entries(options.files, manifest, options.out):
        print("entries for dataset_info.json:", file=sys.stderr)
        print(json.dumps(entries, indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="earwitness split",
        description="Split files of rows together, so that nothing leaks between splits, files or tasks.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, help="JSONL files that 'earwitness convert' wrote")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where <file>.<split>.jsonl and the manifest go")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="prove a split by reading it back")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="JSON file; options below override it")
    parser.add_argument("--ratio", metavar="TRAIN:VAL:TEST", help="shares of all tasks but detection (70:15:15)")
    parser.add_argument("--detection", metavar="TRAIN:VAL:TEST", help="shares of detection (20.5:17.8:61.7)")
    parser.add_argument("--disjoint", metavar="KIND,...", help="what splits do not share: speaker,system,text; or none")
    parser.add_argument("--conflicts", help="rows between two splits: refuse (default) or drop")
    parser.add_argument("--tolerance", type=float, help="how far shares may be off before refusing (0.1)")
    parser.add_argument("--balance-order", action="store_true", help="let A be better as often as B, by swapping")
    parser.add_argument(
        "--balance-labels", metavar="SPLIT,...", help="splits in which verdicts become equally frequent"
    )
    parser.add_argument("--seed", type=int, help="of every draw (0)")
    return parser


def _plan(options: argparse.Namespace) -> SplitPlan:
    from earwitness.data.split_plan import SplitPlan
    from earwitness.errors import UserError

    given: dict[str, Any] = {}
    if options.plan is not None:
        try:
            given = json.loads(options.plan.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UserError(f"{options.plan}: {error.strerror}") from None
        except ValueError as error:
            raise UserError(f"{options.plan}: broken JSON: {error}") from None
        SplitPlan.from_json(given)
    for name in ("ratio", "detection"):
        if (text := getattr(options, name)) is not None:
            given[name] = _shares(f"--{name}", text)
    if options.disjoint is not None:
        given["disjoint"] = [] if options.disjoint == "none" else options.disjoint.split(",")
    if options.balance_labels is not None:
        given["balance_labels"] = options.balance_labels.split(",")
    if options.balance_order:
        given["balance_order"] = True
    for name in ("conflicts", "tolerance", "seed"):
        if (value := getattr(options, name)) is not None:
            given[name] = value
    return SplitPlan.from_json(given)


def _shares(name: str, text: str) -> list[float]:
    from earwitness.errors import UserError

    try:
        return [float(share) for share in text.split(":")]
    except ValueError:
        raise UserError(f"{name}: '{text}' is not allowed; give TRAIN:VAL:TEST, such as 70:15:15") from None


def _table(values: dict[str, dict[str, int]]) -> str:
    """Different values in each split, aligned."""
    from earwitness.data.split_plan import SPLITS

    lines = [["different", *SPLITS], *([f"{kind}s", *map(str, counts.values())] for kind, counts in values.items())]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _entries(files: Sequence[Path], manifest: dict[str, Any], out: Path) -> dict[str, Any]:
    """The entries of the files in the ``dataset_info.json`` beside them, once for each split that holds rows."""
    from earwitness.data.entries import load_entries

    found: dict[str, Any] = {}
    for path in files:
        if not (path.parent / "dataset_info.json").is_file():
            continue
        for name, entry in load_entries(path.parent).items():
            if not isinstance(entry, dict) or entry.get("file_name") != path.name:
                continue
            for file, written in manifest["files"].items():
                if written["from"] == path.name and written["rows"]:
                    inside = out.resolve().is_relative_to(path.parent.resolve())
                    place = (
                        (out.resolve() / file).relative_to(path.parent.resolve()) if inside else out.resolve() / file
                    )
                    found[f"{name}_{written['split']}"] = entry | {"file_name": str(place)}
    return found


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
