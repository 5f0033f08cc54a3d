"""The ``earwitness`` command: find the module of a subcommand, import only that one, and run it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from earwitness import __version__, cli
from earwitness.errors import UserError


def commands() -> dict[str, str]:
    """Return every command's name and summary, read from the modules beside this one without importing them."""
    found = {}
    for module in pkgutil.iter_modules(cli.__path__):
        if module.name != "main" and not module.name.startswith("_"):
            source = Path(cli.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
            name = module.name.replace("_", "-")
            summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
            summary = summary.removeprefix(f"``earwitness {name}``: ")
            found[name] = summary[:1].upper() + summary[1:]
    return found


def usage() -> str:
    """Return the text of ``earwitness --help``."""
    rows = commands()
    width = max(map(len, rows), default=0)
    return "\n".join(
        [
            "usage: earwitness [--version] COMMAND [OPTIONS]",
            "",
            "Train, run and trust speech judges on top of LLaMA-Factory.",
            "",
            "commands (earwitness COMMAND --help says more):",
            *(f"  {name:<{width}}  {summary}" for name, summary in rows.items()),
            "",
            "Training, chat, serving and export are LLaMA-Factory's own commands: llamafactory-cli train FILE.yaml",
        ]
    )


def main(argv: Sequence[str]) -> int:
    """Run ``earwitness COMMAND ...``.

    Raises:
        UserError: no such command; lists them.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"earwitness {__version__}")
        return 0
    name, known = argv[0], commands()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(f"earwitness has no command '{name}'; {hint}It has: {', '.join(known)}")
    module = importlib.import_module(f"earwitness.cli.{name.replace('-', '_')}")
    status: int = module.main(argv[1:])
    return status


def entry() -> None:
    """Start the console script."""
    sys.exit(cli.run(main))


if __name__ == "__main__":
    entry()
