#!/usr/bin/env bash
# All checks and tests, after setting up .venv: style, types, then pytest. Arguments go to pytest:
#     bash scripts/test.sh                     everything but the tests marked slow
#     bash scripts/test.sh -m slow             those that take minutes
#     bash scripts/test.sh -m gpu              of those, what can run on a GPU, there
#     bash scripts/test.sh tests/test_cli.py   one file
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
setup dev

# Nothing from here on may need a network.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_DISABLED=true DO_NOT_TRACK=1
export HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false

failed=()
check() {
    echo "== $*"
    "$@" || failed+=("${*:1:2}")
}
check ruff check .
check ruff format --check .
check mypy --no-error-summary
check pytest "$@"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
