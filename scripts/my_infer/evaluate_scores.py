#!/usr/bin/env python3
"""PCC, SRCC, tau-b, MSE and speech-rate accuracy of ratings; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_scores import main

if __name__ == "__main__":
    sys.exit(run(main))
