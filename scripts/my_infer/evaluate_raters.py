#!/usr/bin/env python3
"""Judge, evaluators and several people side by side; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_raters import main

if __name__ == "__main__":
    sys.exit(run(main))
