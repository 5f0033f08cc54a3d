"""Have an expert text LLM describe clips and compare pairs from their ratings, as ALLD does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from earwitness.errors import UserError

DESCRIPTION = """\
An expert text LLM describes clips from their ratings (mos, noi, col, dis, loud; 1 to 5, higher is better). Ratings
that nobody has are measured by `earwitness analyze`: its --out is a manifest, its --json of one clip gives metrics.

Two clips (the files of the seed: audio1_mos.txt, audio1_mos_diverse.txt, ab_test.txt, ab_test_summary.txt ...):
  earwitness caption --metrics1 a.json --metrics2 b.json --output out --base-url URL --model NAME

A training set from a manifest (alld_mos.jsonl, alld_ab.jsonl and a dataset_info.json for both):
  earwitness caption --manifest clips.csv --pairs pairs.jsonl --output out --base-url URL --model NAME

Replies are kept in OUTPUT/cache: after an interruption, or where some requests failed, the same command goes on and
asks only for what is missing. Exit status: 0 all written, 1 some texts failed (listed; nothing is written in their
place), 2 wrong input.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from earwitness.llm.options import add_endpoint_options

    options = argparse.ArgumentParser(
        prog="earwitness caption", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--metrics1", metavar="JSON", help="ratings of the first clip: {mos, noi, col, dis, loud}")
    options.add_argument("--metrics2", metavar="JSON", help="ratings of the second clip")
    options.add_argument("--skip-ab-test", action="store_true", help="with two clips: no comparison")
    options.add_argument(
        "--manifest", metavar="FILE", help="rows with audio, mos, noi, col, dis, loud and optionally id"
    )
    options.add_argument("--pairs", metavar="FILE", help="rows with audio_a, audio_b (paths or ids of the manifest)")
    options.add_argument(
        "--column", action="append", default=[], metavar="OURS=THEIRS", help="a column of the manifest by another name"
    )
    options.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    options.add_argument("--cache", metavar="DIR", help="request cache (default OUTPUT/cache)")
    options.add_argument("--tries", type=int, default=3, help="tries for a text that fails its check (default 3)")
    options.add_argument("--max-tokens", type=int, default=1024, help="room for one text (default 1024)")
    add_endpoint_options(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    if bool(arguments.manifest) == bool(arguments.metrics1 or arguments.metrics2):
        raise UserError("caption: give either --metrics1 and --metrics2, or --manifest")
    if arguments.tries < 1 or arguments.max_tokens < 1:
        raise UserError("caption: --tries and --max-tokens must be at least 1")

    from earwitness.corpus import caption, caption_files
    from earwitness.llm.client import ChatClient
    from earwitness.llm.options import endpoint_of

    output = Path(arguments.output)
    clips: list[caption.Clip]
    pairs: list[caption.Pair]
    if arguments.manifest:
        clips = caption_files.read_manifest(arguments.manifest, _columns(arguments.column))
        pairs = caption_files.read_pairs(arguments.pairs, clips) if arguments.pairs else []
    else:
        clips, pairs = _two(arguments)
    chat = ChatClient(endpoint_of(arguments, arguments.cache or str(output / "cache")))
    progress = _Progress(chat)
    sampling = caption.Sampling(tries=arguments.tries, max_tokens=arguments.max_tokens)
    captioner = caption.Captioner(chat, sampling, progress)
    descriptions = captioner.describe(clips)
    comparisons = captioner.compare(pairs)
    progress.end()
    if arguments.manifest:
        failures = caption_files.write_sets(output, clips, descriptions, pairs, comparisons)
    else:
        failures = caption_files.write_two(output, clips, descriptions, comparisons[0] if comparisons else None)
    usage = chat.usage
    cost = f", cost {usage.cost:.4f}" if usage.cost else ""
    print(
        f"{output}: {len(clips)} clips, {len(pairs)} pairs; {usage.requests} requests, {usage.cached} from the cache, "
        f"{usage.retries} retries, {usage.prompt_tokens} + {usage.completion_tokens} tokens{cost}"
    )
    for failure in failures[:10]:
        print(f"failed: {failure['id']} ({failure['what']}): {failure['kind']}: {failure['message']}", file=sys.stderr)
    if failures:
        print(
            f"{len(failures)} texts failed and were not written; the same command asks for them again", file=sys.stderr
        )
    return 1 if failures else 0


def _two(arguments: argparse.Namespace) -> tuple[list, list]:
    from earwitness.corpus import caption, caption_files

    if not (arguments.metrics1 and arguments.metrics2):
        raise UserError("caption: --metrics1 and --metrics2 go together")
    if arguments.pairs or arguments.column:
        raise UserError("caption: --pairs and --column go with --manifest")
    clips = [
        caption.Clip(f"audio{number}", f"audio{number}", caption_files.read_metrics(path))
        for number, path in enumerate((arguments.metrics1, arguments.metrics2), 1)
    ]
    pairs = [] if arguments.skip_ab_test else [caption.Pair("ab_test", *clips)]
    if pairs and pairs[0].winner is None:
        mos = clips[0].ratings.mos
        raise UserError(f"caption: both clips have mos {mos:g}, and an A/B test needs a winner; add --skip-ab-test")
    return clips, pairs


def _columns(items: Sequence[str]) -> dict[str, str]:
    from earwitness.corpus.caption_files import FACTORS

    columns = dict(item.partition("=")[::2] for item in items)
    allowed = ("id", "audio", *FACTORS)
    for ours, theirs in columns.items():
        if ours not in allowed or not theirs:
            raise UserError(f"--column {ours}={theirs}: must be OURS=THEIRS with OURS one of {', '.join(allowed)}")
    return columns


class _Progress:
    """One line on standard error, with cost where prices are known."""

    def __init__(self, chat: object) -> None:
        self.chat = chat
        self.terminal = sys.stderr.isatty()
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.what not in ("", what):
            self.end()
        self.what = what
        cost = self.chat.usage.cost  # type: ignore[attr-defined]
        if self.terminal or done == total:
            line = f"{what}: {done}/{total}" + (f", cost {cost:.4f}" if cost else "")
            print(
                f"\r{line}" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True
            )

    def end(self) -> None:
        """Leave the line."""
        if self.terminal and self.what:
            print(file=sys.stderr)
        self.what = ""
