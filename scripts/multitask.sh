#!/usr/bin/env bash
# The four tasks of SpeechEval on synthetic data, from nothing to tables: synthesise, train one tiny judge, run and measure.
#     bash scripts/multitask.sh
# Everything lands in runs/speecheval. Interrupted, the same command goes on within the step it was in; a step whose
# command or files changed is done anew, and so are those after it. A failed step stops here, with its message above.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

RUN=runs/speecheval
STEPS=$RUN/steps
DATA=$RUN/data
TASKS=(assessment comparison suggestion detection)

setup
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_DISABLED=true DO_NOT_TRACK=1
export EARWITNESS_AUDIO_CACHE_MB=2560   # the features of all training clips

train=("${TASKS[@]/#/synth_}")
train=("${train[@]/%/_train}")
step synth "$DATA" earwitness synth-speecheval --out "$DATA"
step check "" earwitness check --media-dir "$DATA" "${train[@]}" "${train[@]/%_train/_test}"
step untrained "$RUN/untrained" earwitness tiny --out "$RUN/untrained" --dataset synth_clips "${train[@]}"
step train_clips "$RUN/clips" llamafactory-cli train examples/judge/tiny_multitask_clips.yaml
step train_tasks "$RUN/judge" llamafactory-cli train examples/judge/tiny_multitask_cot.yaml

infer() {    # MODEL TASK TOKENS
    step "infer_$1_$2" "$RUN/$1_$2.jsonl" bash scripts/my_infer/infer.sh "$RUN/$1" "synth_$2_test" "$RUN/$1_$2.jsonl" \
        --media-dir "$DATA" --max-new-tokens "$3"
}
evaluate() {    # FIGURES MODEL TASK
    step "evaluate_$1_$2_$3" "$RUN/$1_$2_$3.json" python "scripts/my_infer/evaluate_$1.py" \
        --predictions "$RUN/$2_$3.jsonl" --references "synth_$3_test" --json "$RUN/$1_$2_$3.json" "${@:4}"
}
# A model with random weights writes nothing that can be read: a few tokens show it, and every row is unscored.
for who in judge:256 untrained:8; do
    for task in "${TASKS[@]}"; do infer "${who%:*}" "$task" "${who#*:}"; done
done
for who in judge untrained; do
    evaluate scores "$who" assessment
    evaluate pairwise "$who" comparison --media-dir "$DATA"
    for task in assessment comparison suggestion; do evaluate named "$who" "$task"; done
    step "evaluate_detection_$who" "$RUN/detection_$who.json" python scripts/my_infer/evaluate_detection.py \
        --predictions "$RUN/${who}_detection.jsonl" --json "$RUN/detection_$who.json"
done
