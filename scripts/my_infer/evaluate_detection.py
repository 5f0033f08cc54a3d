#!/usr/bin/env python3
"""EER, minDCF and accuracy of real-or-fake predictions; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.evaluate_detection import main

if __name__ == "__main__":
    sys.exit(run(main))
