"""Loading into LLaMA-Factory and into nothing else: the line of the ``.pth`` file and the finder behind it.

Hosts of other versions are small packages written for the test; the real host is tried in ``test_install.py``.
"""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import os
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from earwitness import autoload
from earwitness.autoload import HostFinder

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"
PTH = PLUGIN / "earwitness.pth"
SITE = sysconfig.get_path("purelib")


def python(code: str, *paths: Path | str, **variables: str) -> subprocess.CompletedProcess:
    """Run code in a Python that processes no site-packages except our one line, and imports from ``paths``."""
    environment = {key: value for key, value in os.environ.items() if "EARWITNESS" not in key} | variables
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "LINE": PTH.read_text(encoding="utf-8")}
    line = "import os, sys; before = set(sys.modules); exec(os.environ['LINE']); added = set(sys.modules) - before"
    code = f"{line}\n{code}"
    return subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def host(folder: Path, version: str | None, **modules: str) -> Path:
    """Write a package ``llamafactory`` of some version; ``data__parser`` stands for ``llamafactory/data/parser.py``."""
    for name, source in {"": "", **modules}.items():
        file = folder.joinpath("llamafactory", *name.split("__")).with_suffix(".py") if name else None
        file = file or folder / "llamafactory" / "__init__.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
        file.with_name("__init__.py").touch()
    if version:
        metadata = folder / f"llamafactory-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: llamafactory\nVersion: {version}\n", encoding="utf-8")
    return folder


@pytest.fixture
def without_host(tmp_path) -> Path:
    """A folder of what our finder needs from site-packages, and no host."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "packaging").symlink_to(Path(SITE, "packaging"))
    return folder


class TestLine:
    def test_is_one_line_that_site_executes(self):
        assert PTH.read_text(encoding="utf-8").startswith("import ")
        assert len(PTH.read_text(encoding="utf-8").splitlines()) == 1

    def test_a_python_without_the_host_imports_nothing_of_ours(self):
        result = python("import json; print(added, [name for name in sys.modules if 'earwitness' in name])", PLUGIN)
        assert (result.stdout, result.stderr) == ("set() []\n", "")

    def test_without_the_host_its_import_fails_as_it_would_without_us(self, without_host):
        result = python("import llamafactory", PLUGIN, without_host)
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'llamafactory'"
        assert "earwitness" not in result.stderr

    def test_is_silent_where_the_package_is_gone(self, tmp_path):
        result = python("import llamafactory; print('fine')", host(tmp_path, "0.9.5"))
        assert (result.stdout, result.stderr) == ("fine\n", "")

    def test_is_silent_where_an_empty_folder_of_the_package_is_left(self, tmp_path):
        (tmp_path / "earwitness" / "__pycache__").mkdir(parents=True)
        result = python("import llamafactory; print('fine')", host(tmp_path, "0.9.5"))
        assert (result.stdout, result.stderr) == ("fine\n", "")


class TestHosts:
    def test_hooks_stand_ready_on_the_tested_version_and_only_once(self, tmp_path):
        code = """
exec(os.environ["LINE"])  # as where two installations of ours are visible
import llamafactory
print([getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path].count("HostFinder"))
print("EarwitnessFinder" in [getattr(finder, "__name__", "") for finder in sys.meta_path])
"""
        result = python(code, host(tmp_path, "0.9.5"), PLUGIN, SITE)
        assert (result.stdout, result.stderr) == ("1\nFalse\n", "")

    def test_disabled_leaves_the_host_alone(self, tmp_path):
        code = "import llamafactory; print('earwitness.register' in sys.modules)"
        result = python(code, host(tmp_path, "0.1"), PLUGIN, SITE, EARWITNESS_DISABLE="1")
        assert (result.stdout, result.stderr) == ("False\n", "")

    def test_an_untested_version_warns_once_for_all_processes_and_names_what_is_missing(self, tmp_path):
        code = """
import subprocess, llamafactory.data.parser
again = "import os; exec(os.environ['LINE']); import llamafactory"
subprocess.run([sys.executable, "-S", "-c", again], check=True)
"""
        broken = host(tmp_path, "0.9.9", data__parser="", data__loader="")
        result = python(code, broken, PLUGIN, SITE)
        assert result.returncode == 0, result.stderr
        version, parser = result.stderr.splitlines()
        assert f"llamafactory{autoload.tested_range()}" in version
        assert "0.9.9" in version
        assert "cannot hook" in version
        assert "llamafactory.data.mm_plugin" in version
        assert "llamafactory.data.loader" not in version
        assert parser.startswith("Earwitness could not hook llamafactory.data.parser of LLaMA-Factory 0.9.9")

    def test_a_host_without_metadata_counts_as_untested(self, tmp_path, without_host):
        result = python("import llamafactory", host(tmp_path, None), PLUGIN, without_host)
        assert result.returncode == 0, result.stderr
        assert "an unknown version" in result.stderr

    def test_a_hook_that_fails_on_the_tested_version_stops_the_import(self, tmp_path):
        result = python("import llamafactory.data.parser", host(tmp_path, "0.9.5", data__parser=""), PLUGIN, SITE)
        assert result.returncode == 1
        assert "could not hook llamafactory.data.parser of LLaMA-Factory 0.9.5" in result.stderr
        assert "EARWITNESS_DISABLE=1" in result.stderr

    def test_activation_after_the_host_was_imported_is_refused(self, tmp_path):
        code = """
sys.meta_path.pop(0)
import llamafactory
from earwitness.autoload import activate
activate()
"""
        result = python(code, host(tmp_path, "0.9.5"), PLUGIN, SITE)
        assert result.returncode == 1
        assert "llamafactory is imported already" in result.stderr

    @pytest.mark.parametrize(
        ("version", "tested"),
        [
            ("0.9.5", True),
            ("0.9.5.post1", True),
            ("0.9.4", False),
            ("0.9.6.dev0", False),
            ("0.9.6", False),
            (None, False),
        ],
    )
    def test_range(self, version, tested):
        assert autoload.is_tested(version) is tested


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a fresh package with modules ``one`` and ``two``, removed from ``sys.modules`` afterwards."""
    name = f"somehost_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "data.txt").write_text("resource")
    for module in ("one", "two"):
        (folder / f"{module}.py").write_text("def value():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def fail(name, error):
    raise RuntimeError(f"{name} failed") from error


class TestFinder:
    def test_runs_the_hook_after_the_modules_own_code_and_again_after_a_reload(self, package):
        seen = []

        def hook(module):
            seen.append((module.value(), module.__name__))
            module.value = lambda: 2

        sys.meta_path.insert(0, HostFinder({f"{package}.one": hook}, fail))
        module = importlib.import_module(f"{package}.one")
        assert module.value() == 2
        importlib.import_module(f"{package}.two")
        assert importlib.reload(module).value() == 2
        assert seen == [(1, f"{package}.one")] * 2

    def test_leaves_the_modules_own_loader_behind(self, package):
        sys.meta_path.insert(0, HostFinder({package: lambda module: None, f"{package}.one": lambda module: None}, fail))
        module = importlib.import_module(f"{package}.one")
        assert type(module.__loader__).__name__ == "SourceFileLoader"
        assert module.__spec__.loader is module.__loader__
        assert "return 1" in inspect.getsource(module.value)
        assert importlib.resources.files(package).joinpath("data.txt").read_text() == "resource"

    def test_a_hooked_module_can_be_run_as_a_script(self, package, tmp_path):
        code = f"""
import runpy
from earwitness.autoload import HostFinder
sys.meta_path.insert(0, HostFinder({{"{package}.one": print}}, None))
print(runpy.run_module("{package}.one", run_name="__main__")["value"]())
"""
        result = python(code, tmp_path, PLUGIN, SITE)
        assert (result.stdout, result.stderr) == ("1\n", "")

    def test_a_failing_hook_is_reported_and_can_stop_the_import(self, package):
        def hook(module):
            raise KeyError("gone")

        names = []

        def note(name, error):
            names.append((name, str(error)))

        sys.meta_path.insert(0, HostFinder({f"{package}.one": hook}, note))
        importlib.import_module(f"{package}.one")
        assert names == [(f"{package}.one", "'gone'")]
        sys.meta_path[0] = HostFinder({f"{package}.two": hook}, fail)
        with pytest.raises(RuntimeError, match=r"two failed"):
            importlib.import_module(f"{package}.two")
        assert f"{package}.two" not in sys.modules

    def test_threads_that_import_at_once_run_a_hook_once(self, package):
        seen = []
        names = [f"{package}.one", f"{package}.two"]
        sys.meta_path.insert(0, HostFinder({name: lambda module: seen.append(module.__name__) for name in names}, fail))
        start = threading.Barrier(8)

        def load(index):
            start.wait()
            importlib.import_module(names[index % 2])

        threads = [threading.Thread(target=load, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == names
