"""``earwitness export``: write a trained judge as a full model that vLLM and transformers load."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from earwitness.cli import run

DESCRIPTION = """\
Write JUDGE as a full model to OUT: the thinker that was trained goes back into its Omni model, a LoRA adapter is
merged. The talker and everything else of the full model stay bit for bit; logits are those of JUDGE.

JUDGE  a thinker-only checkpoint (what training and 'llamafactory-cli export' write), or a LoRA adapter's folder

  earwitness export runs/sft/omni exported --full-model Qwen/Qwen2.5-Omni-7B
  earwitness export runs/sft/adapter exported --base-model Qwen/Qwen2.5-Omni-7B
  vllm serve exported
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="earwitness export", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("judge", metavar="JUDGE")
    options.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    options.add_argument(
        "--full-model",
        metavar="MODEL",
        help="folder or hub name of the full model; default: what lies under an adapter",
    )
    options.add_argument(
        "--base-model", metavar="MODEL", help="model under a LoRA adapter that does not name it; default: as named"
    )
    options.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the judge's tensors; default: as they were saved",
    )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``DESCRIPTION``.

    Raises:
        UserError: wrong input.
    """
    arguments = parser().parse_args(argv)
    from earwitness.export import export_judge

    done = export_judge(
        arguments.judge,
        arguments.out,
        full_model=arguments.full_model,
        base_model=arguments.base_model,
        dtype=arguments.dtype,
    )
    print(f"{done.folder}: {done.replaced} tensors of the judge ({done.dtype}), {done.kept} others kept")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
