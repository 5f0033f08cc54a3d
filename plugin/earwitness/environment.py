"""Check that the installed packages fit together: ``python -m earwitness.environment``.

Prints one line that says what is there, or one line for each thing that is wrong, with the fix, and exits with 1.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator

from packaging.requirements import Requirement

FIX = "fix: pip install -c constraints.txt -e . (in the checkout)"
_TRIO = ("torch", "torchaudio", "torchvision")


def problems() -> Iterator[str]:
    """Yield one complete line for each thing that is missing or does not fit, most basic first."""
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        yield f"Python {sys.version.split()[0]} is not supported; fix: make the environment with Python 3.11 or 3.12"
        return
    unfit = list(_unfit_versions())
    yield from unfit
    yield from _broken_imports()
    if not unfit:
        yield from _not_loaded()


def _unfit_versions() -> Iterator[str]:
    """Compare what is installed with the ranges of our own metadata, so that they are written down once."""
    try:
        requirements = importlib.metadata.requires("earwitness") or []
    except importlib.metadata.PackageNotFoundError:
        yield f"earwitness itself is not installed; {FIX}"
        return
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing; {FIX}"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is not supported ({requirement.specifier} is); {FIX}"


def _broken_imports() -> Iterator[str]:
    """Import torch and its companions together: builds for different CUDA versions refuse to.

    soundfile stands with them because it is the other package that may miss a system library.
    """
    for name in (*_TRIO, "soundfile"):
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a broken binary raises: ImportError, OSError, RuntimeError
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            yield f"{', '.join(_versions((*_TRIO, name)))}: importing {name} fails ({reason[0]}); {FIX}"
            return


def _not_loaded() -> Iterator[str]:
    """See whether an import of the host would load the plugin."""
    from earwitness.autoload import waits

    if not waits():
        yield f"earwitness.pth is not in site-packages, so llamafactory-cli would run without the plugin; {FIX}"


def _versions(names: tuple[str, ...]) -> list[str]:
    found = []
    for name in dict.fromkeys(names):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} missing")
    return found


def main() -> int:
    """Print the verdict; return 0 where everything fits, else 1."""
    found = list(problems())
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    if not found:
        parts = _versions(("earwitness", "llamafactory", "transformers", "torch"))
        off = " (the plugin is off: EARWITNESS_DISABLE is set)" if os.environ.get("EARWITNESS_DISABLE") else ""
        print(f"Environment: Python {sys.version.split()[0]}, {', '.join(parts)}{off}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
