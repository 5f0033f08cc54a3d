"""Does GRPO make a judge better? The proof of docs/grpo.md on the tiny judge, on a CPU.

    earwitness synth --out runs/demo/data
    earwitness tiny --out runs/demo/untrained --dataset demo_clips demo_pairs_train
    llamafactory-cli train examples/judge/tiny_clips.yaml
    python benchmarks/grpo_learning.py

The SFT of stage 2 is stopped early, as the first lines of ``examples/judge/tiny_grpo.yaml`` say; from there that recipe
goes on with each seed. Every judge answers the test pairs in both orders, greedily. The difference of each run to the
judge that it started from is taken over the same rows; its interval is a paired bootstrap over pairs of clips. Finished
steps are kept.
"""

from __future__ import annotations

import argparse

from tiny_runs import ROOT, interval, judge, report, train

FOLDER = ROOT / "runs/demo/grpo_learning"
EARLY = ("max_steps=400", "lr_scheduler_type=constant_with_warmup", "max_samples=12000", "plot_loss=false")
"""SFT that is stopped while its learning rate is still high."""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = options.parse_args()
    early = FOLDER / "early"
    train("tiny_sft", early, *EARLY)
    before = judge(early)
    start = report(before)["overall"]["accuracy"]
    print(f"SFT stopped early: accuracy {interval(start)}, n {start['n']}, unscored {start['unscored']}\n")
    print("| seed | accuracy after GRPO | n | unscored | after - before | only after, only before right | minutes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seed in arguments.seeds:
        out = FOLDER / f"seed{seed}"
        seconds = train("tiny_grpo", out, f"seed={seed}", f"model_name_or_path={early}", "plot_loss=false")
        found = report(judge(out), before)
        after, duel = found["overall"]["accuracy"], found["duel"]
        counts = f"{duel['mcnemar']['only_first']}, {duel['mcnemar']['only_second']}"
        cells = [
            interval(after),
            after["n"],
            after["unscored"],
            interval(duel["accuracy"]),
            counts,
            f"{seconds / 60:.1f}",
        ]
        print(f"| {seed} | {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
