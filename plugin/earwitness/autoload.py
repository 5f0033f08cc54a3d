"""Load the plugin into every Python that imports LLaMA-Factory, and into no other.

``earwitness.pth`` lies in site-packages, so each starting interpreter executes its one line: bare commands, torchrun,
DeepSpeed and Ray workers, and spawned processes alike. The line puts a finder of six lines, which imports nothing, in
front of ``sys.meta_path``. On the first search for ``llamafactory`` that finder hands over to this module, which sets
`HostFinder` in its place: from then on each host module in ``register.HOOKS`` is extended right after it was executed.
Where this package is gone but the ``.pth`` is not, the finder finds nothing to hand over to and keeps silent.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.specifiers import SpecifierSet

from earwitness.errors import UserError

HOST = "llamafactory"
_PTH_FINDER = "EarwitnessFinder"  # the class that earwitness.pth defines
_WARNED = "_EARWITNESS_WARNED"  # handed down to child processes, so that one job warns once

Hook = Callable[[ModuleType], None]

_log = logging.getLogger("earwitness")
_lock = threading.RLock()


class HostFinder:
    """Find modules as everyone else does, and let those named in ``hooks`` run their hook after their own code.

    Args:
        hooks: full module name to the function that extends that module. It runs once for every execution of the
            module, so again after ``importlib.reload``.
        on_failure: receives the module's name and the error when a hook fails; what it raises, the import raises.
    """

    def __init__(self, hooks: Mapping[str, Hook], on_failure: Callable[[str, Exception], None]) -> None:
        self.hooks = hooks
        self.on_failure = on_failure

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec the other finders give, with our loader around theirs; None for modules without a hook."""
        if name not in self.hooks:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find and not _is_ours(finder) else None
            if spec is not None:
                if spec.loader is not None:  # a folder without __init__.py has none, and nothing to extend
                    spec.loader = _Loader(spec.loader, self._run)  # type: ignore[assignment]
                return spec
        return None

    def _run(self, module: ModuleType) -> None:
        try:
            self.hooks[module.__name__](module)
        except Exception as error:
            self.on_failure(module.__name__, error)


class _Loader:
    """The module's own loader, followed by a hook. It steps aside before the module's code can see it."""

    def __init__(self, loader: Any, hook: Hook) -> None:
        self._loader = loader
        self._hook = hook

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._hook(module)

    def __getattr__(self, name: str) -> Any:  # get_code for runpy, get_data for resources, ...
        return getattr(self._loader, name)


def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
    """Activate the hooks and find ``llamafactory``: what the finder of the ``.pth`` file hands over to."""
    finder = activate()
    return finder.find_spec(name, path, target) if finder else None


def activate() -> HostFinder | None:
    """Extend the host modules that are imported from now on. Repeating it changes nothing.

    Only an interpreter that did not process the ``.pth`` file (``PYTHONPATH`` alone, say) needs to call it, and must
    do so before it imports the host.

    Returns:
        The finder at work, or None where ``EARWITNESS_DISABLE`` is set (to ``1``, ``true`` or ``y``).

    Raises:
        UserError: the host is imported already, or the plugin is installed only in part.
    """
    if os.environ.get("EARWITNESS_DISABLE", "").lower() in ("1", "true", "y"):
        return None
    with _lock:
        active = next((finder for finder in sys.meta_path if isinstance(finder, HostFinder)), None)
        if active is not None:
            return active
        if HOST in sys.modules:
            raise UserError(f"{HOST} is imported already; call earwitness.autoload.activate() before that")
        try:
            from earwitness import register
        except ImportError as error:
            raise UserError(
                f"Earwitness is installed only in part ({error}); install it again, remove it with "
                "'pip uninstall earwitness', or set EARWITNESS_DISABLE=1"
            ) from error
        finder = HostFinder(register.HOOKS, _report)
        sys.meta_path[:] = [finder, *(other for other in sys.meta_path if not _is_ours(other))]
        if not is_tested(host_version()):
            _warn_untested(register.HOOKS)
        return finder


def waits() -> bool:
    """Tell whether an import of the host in this process would meet one of our finders."""
    return any(_is_ours(finder) for finder in sys.meta_path)


def host_version() -> str | None:
    """Return the version of the installed LLaMA-Factory, or None where no installed package is of that name."""
    try:
        return importlib.metadata.version(HOST)
    except importlib.metadata.PackageNotFoundError:
        return None


def tested_range() -> SpecifierSet:
    """Return the range of LLaMA-Factory versions that the hooks were tested on."""
    from earwitness.register import TESTED_HOST

    first, beyond = TESTED_HOST
    return SpecifierSet(f">={first},<{beyond}")


def is_tested(version: str | None) -> bool:
    """Tell whether the hooks were tested on this version of LLaMA-Factory. An unknown one (None) was not tested."""
    return version is not None and tested_range().contains(version, prereleases=True)


def _is_ours(finder: Any) -> bool:
    return isinstance(finder, HostFinder) or getattr(finder, "__name__", None) == _PTH_FINDER


def _report(name: str, error: Exception) -> None:
    """On a tested host a hook that fails is our defect and stops the import; elsewhere it is named."""
    version = host_version()
    what = f"Earwitness could not hook {name} of LLaMA-Factory {version or 'of unknown version'}"
    if is_tested(version):
        if isinstance(error, UserError):
            raise error
        raise UserError(
            f"{what}: {type(error).__name__}: {error}; install both again, or set EARWITNESS_DISABLE=1 to run without"
        ) from error
    _log.warning("%s: %s: %s; what it adds is missing", what, type(error).__name__, error)


def _warn_untested(hooks: Iterable[str]) -> None:
    """Warn once in a tree of processes, and name the hooks whose module this host does not have."""
    others = (finder for finder in sys.meta_path if hasattr(finder, "find_spec") and not _is_ours(finder))
    spec = next((spec for finder in others if (spec := finder.find_spec(HOST, None, None))), None)
    if spec is None or os.environ.get(_WARNED):  # without a host nothing can be hooked wrongly
        return
    os.environ[_WARNED] = "1"
    folders = [Path(folder).parent for folder in spec.submodule_search_locations or ()]
    missing = [name for name in hooks if not any(_holds(folder, name) for folder in folders)]
    _log.warning(
        "Earwitness was tested with %s%s and finds %s%s. Fix: pip install '%s%s'",
        HOST,
        tested_range(),
        host_version() or "an unknown version",
        f", in which it cannot hook {', '.join(missing)}" if missing else "",
        HOST,
        tested_range(),
    )


def _holds(folder: Path, name: str) -> bool:
    module = folder.joinpath(*name.split("."))
    return module.with_suffix(".py").is_file() or module.is_dir()
