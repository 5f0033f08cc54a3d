#!/usr/bin/env bash
# The main job on the embedded default, from nothing to a table: synthesise speech, train a tiny judge, run and measure it.
#     bash scripts/demo.sh
# Everything lands in runs/demo. Interrupted, the same command goes on within the step it was in; a step whose command
# or files changed is done anew, and so are those after it. A failed step stops here, with its own message above.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

RUN=runs/demo
STEPS=$RUN/steps
DATA=$RUN/data

setup
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_DISABLED=true DO_NOT_TRACK=1
export EARWITNESS_AUDIO_CACHE_MB=1536   # the features of all training clips, about 1000

step synth "$DATA" earwitness synth --out "$DATA"
step check "" earwitness check --cutoff-len 2560 --media-dir "$DATA" demo_clips demo_pairs_train demo_pairs_mid \
    demo_pairs_long demo_pairs_test
step untrained "$RUN/untrained" earwitness tiny --out "$RUN/untrained" --dataset demo_clips demo_pairs_train
step train_clips "$RUN/clips" llamafactory-cli train examples/judge/tiny_clips.yaml
step train_pairs "$RUN/pairs" llamafactory-cli train examples/judge/tiny_sft.yaml
step train_long "$RUN/judge" llamafactory-cli train examples/judge/tiny_long.yaml
step infer "$RUN/test.jsonl" bash scripts/my_infer/infer.sh "$RUN/judge" demo_pairs_test "$RUN/test.jsonl" \
    --media-dir "$DATA" --orders both --max-new-tokens 128 --batch-size 96
# A model with random weights writes no verdict: a few tokens in one order show it, and every row counts as unscored.
step infer_untrained "$RUN/untrained.jsonl" bash scripts/my_infer/infer.sh "$RUN/untrained" demo_pairs_test \
    "$RUN/untrained.jsonl" --media-dir "$DATA" --orders ab --max-new-tokens 8 --batch-size 96
for who in test untrained; do
    step "evaluate_$who" "$RUN/evaluation_$who.json" python scripts/my_infer/evaluate_pairwise.py \
        --references demo_pairs_test --media-dir "$DATA" --predictions "$RUN/$who.jsonl" --by gap:0.25,0.4,0.6 \
        --json "$RUN/evaluation_$who.json"
done
echo
earwitness demo-report --judge "$RUN/evaluation_test.json" --untrained "$RUN/evaluation_untrained.json" \
    --steps "$STEPS" --out "$RUN/metrics.json"
