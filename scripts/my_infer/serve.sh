#!/usr/bin/env bash
# Serve a judge over HTTP as LLaMA-Factory's OpenAI-style API: on this machine only, and without access to its files.
#     bash scripts/my_infer/serve.sh MODEL [TEMPLATE] [OPTIONS of llamafactory-cli api]
# MODEL is a model folder; TEMPLATE is qwen2_omni (default), qwen2_audio or qwen3_omni_nothink.
# Settings: API_HOST (127.0.0.1), API_PORT (8000), API_KEY (none; set one before you listen beyond this machine),
# ALLOW_LOCAL_FILES (0: clips come as data URLs; with 1, from SAFE_MEDIA_PATH, whose name no neighbour may begin with).
set -euo pipefail
case "${1:-}" in
    "" | -h | --help)
        sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"
        if [ -n "${1:-}" ]; then exit 0; else exit 2; fi
        ;;
esac
model=$1
template=${2:-qwen2_omni}
shift $(($# < 2 ? $# : 2))
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -x "$root/.venv/bin/llamafactory-cli" ]; then PATH=$root/.venv/bin:$PATH; fi
export API_HOST=${API_HOST:-127.0.0.1} ALLOW_LOCAL_FILES=${ALLOW_LOCAL_FILES:-0} API_VERBOSE=${API_VERBOSE:-0}
exec llamafactory-cli api --model_name_or_path "$model" --template "$template" --infer_backend huggingface \
    --do_sample false "$@"
