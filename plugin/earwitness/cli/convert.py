"""Convert data sets in the wild to rows for a judge, and make pairs of scored clips."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earwitness.data.converters import Options
    from earwitness.data.pairing import PairRule

_EXAMPLES = """examples:
  earwitness convert sagelm test_semantic.json --out data/semantic.jsonl
  earwitness convert plain votes.csv --out data/votes.jsonl --columns audio_a=left,audio_b=right,verdict=best \\
      --values=-1=first,0=tie,1=second --aspect noise
  earwitness convert nisqa NISQA_VAL_SIM_file.csv --out data/nisqa.jsonl --pairs --margin 0.5 --tie-band 0.1

The entry to paste into dataset_info.json goes to standard output, everything else to standard error."""


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness convert ...``.

    Raises:
        UserError: wrong options, a file that cannot be read, or a bad row without ``--skip-bad``.
    """
    options = _parser().parse_args(argv)

    from earwitness.data.converters import get_converter
    from earwitness.data.converters.writing import convert_to_files

    done = convert_to_files(
        get_converter(options.format),
        options.input,
        options.out,
        _declared(options),
        skip_bad=options.skip_bad,
        audio_out=options.audio_out,
        pairs=_rule(options) if options.pairs else None,
        name=options.name,
    )
    for path, rows in done.files.items():
        print(f"{path}: {rows} rows", file=sys.stderr)
    if done.pairing is not None:
        counts = ", ".join(f"{name} {done.pairing[name]}" for name in ("first", "second", "tie"))
        print(f"pairs of {done.pairing['clips_used']} of {done.pairing['clips']} clips: {counts}", file=sys.stderr)
    if done.bad.count:
        print(done.bad.summary(), file=sys.stderr)
    print(f"recorded in {done.manifest}; add to dataset_info.json beside it:", file=sys.stderr)
    print(json.dumps(done.entries, indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="earwitness convert",
        description="Convert a data set to JSONL rows for a judge (speech_pair, speech_clip).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "format",
        help="sagelm, speecheval, ms_swift, nisqa, somos, bvcc, speechjudge, asvspoof, or plain with declared columns",
    )
    parser.add_argument("input", type=Path, help="the file")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSONL to write; a file a task for formats with several"
    )
    parser.add_argument("--name", help="name of the entry (default: that of the file)")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave bad rows out, count them, list all in OUT.bad.jsonl"
    )
    declared = parser.add_argument_group("what the file does not say")
    declared.add_argument("--columns", default="", metavar="OURS=THEIRS,...", help="columns of a plain file")
    declared.add_argument(
        "--values", default="", metavar="THEIRS=OURS,...", help="what its verdicts stand for: A=first,..."
    )
    declared.add_argument("--scale", metavar="LOW:HIGH", help="scale of its scores")
    declared.add_argument("--aspect", help="what is judged; for nisqa which dimension is the score")
    declared.add_argument("--task", help="of every row, where rows do not say it")
    declared.add_argument("--language", help="of the clips")
    declared.add_argument("--source", help="name of the data set")
    declared.add_argument("--audio-dir", default="", help="put before relative audio paths")
    declared.add_argument("--audio-out", type=Path, metavar="FOLDER", help="where clips go that are inside the file")
    declared.add_argument("--unlabelled", action="store_true", help="rows without a label are wanted (for inference)")
    declared.add_argument(
        "--keep-tokens", action="store_true", help="keep control tokens in texts; prompts disarm them"
    )
    pairs = parser.add_argument_group("pairs of scored clips")
    pairs.add_argument("--pairs", action="store_true", help="make pairs; needs --margin")
    pairs.add_argument("--margin", type=float, help="least difference of scores of a decisive pair")
    pairs.add_argument("--tie-band", type=float, help="greatest difference of a tie (default: no ties)")
    pairs.add_argument("--sentence", default="any", help="whether both clips say the same: same, different, any")
    pairs.add_argument("--cap", type=int, default=4, help="pairs of one clip at most (4)")
    pairs.add_argument("--tie-share", type=float, default=1 / 3, help="share of ties at most (1/3)")
    pairs.add_argument("--limit", type=int, help="pairs at most")
    pairs.add_argument("--seed", type=int, default=0, help="of every draw (0)")
    return parser


def _declared(options: argparse.Namespace) -> Options:
    from earwitness.data.converters import Options

    return Options(
        columns=_pairs_of("--columns", options.columns),
        verdict_values=_pairs_of("--values", options.values),
        scale=_scale(options.scale),
        aspect=options.aspect,
        task=options.task,
        language=options.language,
        source=options.source,
        audio_dir=options.audio_dir,
        unlabelled=options.unlabelled,
        keep_tokens=options.keep_tokens,
    )


def _pairs_of(name: str, text: str) -> dict[str, str]:
    """``a=b,c=d``; a value to the left of the last ``=`` may hold ``=`` itself."""
    from earwitness.errors import UserError

    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        left, separator, right = part.rpartition("=")
        if not separator or not left or not right or left in found:
            raise UserError(f"{name}: '{part}' is not allowed; give name=name, comma, name=name, each name once")
        found[left] = right
    return found


def _scale(text: str | None) -> tuple[float, float] | None:
    from earwitness.data.converters import Options
    from earwitness.errors import UserError

    if text is None:
        return None
    try:
        return Options.from_mapping({"scale": [float(bound) for bound in text.split(":")]}).scale
    except ValueError:
        raise UserError(f"--scale: '{text}' is not allowed; give LOW:HIGH, such as 1:5") from None


def _rule(options: argparse.Namespace) -> PairRule:
    from earwitness.data.pairing import PairRule
    from earwitness.errors import UserError

    if options.margin is None:
        raise UserError("--pairs needs --margin, the least difference of scores of a decisive pair, such as 0.5")
    return PairRule(
        margin=options.margin,
        tie_band=options.tie_band,
        sentence=options.sentence,
        cap=options.cap,
        tie_share=options.tie_share,
        limit=options.limit,
        seed=options.seed,
    )


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
