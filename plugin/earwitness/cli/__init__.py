"""Commands, one module each: a first docstring line that ``earwitness --help`` shows, and ``main(argv) -> int``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from earwitness.errors import UserError


def run(command: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command and turn what ends it into an exit status.

    Args:
        command: takes the arguments after its name and returns its exit status.
        argv: those arguments; by default the ones of this process.

    Returns:
        The command's own status; 2 after a `UserError`, whose message goes to stderr as one line; 130 after Ctrl-C;
        141 where the reader of our output has gone (``... | head``), as the shell reports it for other programs.
    """
    try:
        status = command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit's own flush complains again
        return 141
    return status
