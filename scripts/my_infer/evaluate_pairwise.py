#!/usr/bin/env python3
"""Accuracy, Agreement and trust figures of pairwise verdicts; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_pairwise import main

if __name__ == "__main__":
    sys.exit(run(main))
