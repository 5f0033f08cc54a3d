#!/usr/bin/env python3
"""Areas, distortions, intervals and preferences that a judge's texts name; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_named import main

if __name__ == "__main__":
    sys.exit(run(main))
