"""Build a tiny judge with random weights and a tokenizer of its own, to train or to try things on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

RECORDS = 2000  # of each dataset; prompts repeat, so the tokenizer gains nothing from more
# What the chat template of the families writes around every prompt: byte by byte it would be a tenth of a sequence.
CHAT = "system\nYou are a helpful assistant.\nuser\n{prompt}\nassistant\n{response}"


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness tiny ...``.

    Raises:
        UserError: unknown family or dataset, or a bad row.
    """
    parser = argparse.ArgumentParser(
        prog="earwitness tiny",
        description="Write a tiny model folder (random weights, tokenizer, processor) that loads like a real one.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder to write; replaced where it exists")
    parser.add_argument("--family", default="qwen2_5_omni", help="qwen2_5_omni, qwen2_audio or qwen3_omni")
    parser.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="datasets the tokenizer learns from")
    parser.add_argument("--dataset-dir", default="data", help="folder of dataset_info.json")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    options = parser.parse_args(argv)

    from earwitness.data.records import load_records
    from earwitness.tiny import build_tiny

    texts = [
        CHAT.format(prompt=record.prompt, response=record.response or "")
        for name in options.dataset
        for record in load_records(name, options.dataset_dir, limit=RECORDS)
    ]
    path = build_tiny(options.out, options.family, corpus=texts, seed=options.seed)
    print(f"{path}: a tiny {options.family} with random weights")
    return 0


if __name__ == "__main__":
    from earwitness.cli import run

    sys.exit(run(main))
