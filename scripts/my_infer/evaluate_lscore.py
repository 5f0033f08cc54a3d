#!/usr/bin/env python3
"""LScore and extracted dimensions of a judge's texts, by a text LLM; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_lscore import main

if __name__ == "__main__":
    sys.exit(run(main))
