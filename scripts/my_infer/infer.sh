#!/usr/bin/env bash
# infer.sh MODEL DATASET OUT [options]: judge a dataset; -h lists every option with its default.
# A thin wrapper: takes the Python of the checkout's .venv where there is one, else the one on PATH.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
python=python3
if [[ -x $root/.venv/bin/python ]]; then
  python=$root/.venv/bin/python
fi
PYTHONPATH=$root/plugin${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m earwitness.cli.infer "$@"
