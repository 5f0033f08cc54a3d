#!/usr/bin/env python3
"""SBERT similarity and FENSE of a judge's texts; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_text import main

if __name__ == "__main__":
    sys.exit(run(main))
