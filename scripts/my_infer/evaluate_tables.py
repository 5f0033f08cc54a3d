#!/usr/bin/env python3
"""Tables of the papers from evaluation reports; see --help."""

import sys

from earwitness.cli import run
from earwitness.cli.tables import main

if __name__ == "__main__":
    sys.exit(run(main))
