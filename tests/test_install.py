"""Installing, loading into the real host, uninstalling, and the set-up script's errors.

Each environment is new and empty, except that a ``.pth`` file shows it this one's packages: nothing is downloaded.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from earwitness import autoload
from earwitness.train.arguments import SpeechJudgeArguments

REPOSITORY = Path(__file__).resolve().parents[1]
OUR_FIELDS = set(SpeechJudgeArguments.__dataclass_fields__)


class Environment:
    """A virtual environment with Earwitness installed from a copy of this checkout."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder = folder
        self.checkout = folder / "checkout"
        self.checkout.mkdir(parents=True)
        for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "plugin", "templates"):
            source = REPOSITORY / name
            if source.is_dir():
                unneeded = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, self.checkout / name, ignore=unneeded)
            elif source.exists():
                shutil.copy(source, self.checkout)
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.python = venv / "bin" / "python"
        self.site = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
        (self.site / "~tested.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.before = self.listing()
        self.run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", *options, str(self.checkout))

    def run(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess:
        environment = {
            key: value for key, value in os.environ.items() if "EARWITNESS" not in key and key != "PYTHONPATH"
        }
        result = subprocess.run(
            [self.python, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment | variables,
        )
        if check:
            assert result.returncode == 0, result.stderr
        return result

    def listing(self) -> set[str]:
        """Every file of the environment but bytecode."""
        files = (path for path in self.python.parents[1].rglob("*") if path.suffix != ".pyc")
        return {str(path) for path in files if path.name != "__pycache__"}


@pytest.fixture(scope="module")
def normal(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("normal"), [])


@pytest.fixture(scope="module")
def editable(tmp_path_factory) -> Environment:
    return Environment(tmp_path_factory.mktemp("editable"), ["--editable"])


@pytest.fixture(
    params=["normal", "editable"]
)  # of function scope, so that tests keep their order: uninstalling is last
def installed(request) -> Environment:
    return request.getfixturevalue(request.param)


def test_the_pth_file_lies_in_site_packages_and_pip_knows_it(installed):
    assert (installed.site / "earwitness.pth").read_bytes() == (REPOSITORY / "plugin/earwitness.pth").read_bytes()
    files = installed.run("-m", "pip", "show", "--files", "earwitness").stdout.split()
    assert "earwitness.pth" in files


def test_a_python_without_the_host_imports_nothing_of_ours(installed):
    code = "import sys; print([name for name in sys.modules if 'earwitness' in name or name in ('torch', 'packaging')])"
    result = installed.run("-c", code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_processes_however_started_are_ready(installed):
    script = installed.folder / "workers.py"
    script.write_text(
        "import multiprocessing, subprocess, sys\n"
        "from earwitness.autoload import waits\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn', 'forkserver'):\n"
        "        with multiprocessing.get_context(method).Pool(1) as pool:\n"
        "            print(method, pool.apply(waits))\n"
        "    isolated = [sys.executable, '-I', '-c', 'from earwitness.autoload import waits; print(waits())']\n"
        "    print('isolated', subprocess.check_output(isolated, text=True).strip())\n"
    )
    output = installed.run(str(script)).stdout
    assert output.splitlines() == ["fork True", "spawn True", "forkserver True", "isolated True"]


def test_templates_are_found(installed):
    code = "from earwitness.judges.prompts import templates_dir; print(templates_dir())"
    folder = Path(installed.run("-c", code).stdout.strip())
    packaged = {str(path.relative_to(folder)) for path in folder.rglob("*.jinja")}
    ours = {str(path.relative_to(REPOSITORY / "templates")) for path in (REPOSITORY / "templates").rglob("*.jinja")}
    assert packaged == ours


def test_the_package_is_complete(installed):
    code = "import earwitness, pathlib; print(pathlib.Path(earwitness.__file__).parent)"
    folder = Path(installed.run("-c", code).stdout.strip())
    wanted = {
        path.relative_to(REPOSITORY / "plugin/earwitness")
        for path in (REPOSITORY / "plugin/earwitness").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_the_command_runs(installed):
    result = subprocess.run(
        [installed.python.parent / "earwitness", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"earwitness {importlib.metadata.version('earwitness')}\n"


def test_the_environment_check_passes(normal):
    result = normal.run("-m", "earwitness.environment")
    assert result.stdout.startswith("Environment: Python 3.")
    assert result.stderr == ""


def test_the_environment_check_names_each_fault_and_its_fix(normal):
    fake = normal.folder / "faults"
    for name, version in (("llamafactory", "0.9.9"), ("trl", "0.18.0")):
        metadata = fake / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True, exist_ok=True)
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (fake / "torchaudio.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    result = normal.run("-m", "earwitness.environment", check=False, PYTHONPATH=str(fake))
    host, trl, audio = result.stderr.splitlines()
    assert result.returncode == 1
    assert host.startswith("error: llamafactory 0.9.9 is not supported (")
    assert trl.startswith("error: trl 0.18.0 is not supported (")
    assert "importing torchaudio fails (libcudart.so.13: cannot open shared object file)" in audio
    assert all("fix: pip install -c constraints.txt" in line for line in (host, trl, audio))


def test_the_host_has_our_training_fields_unless_disabled(editable):
    code = "from llamafactory.hparams.finetuning_args import FinetuningArguments as a; print(*a.__dataclass_fields__)"
    fields = set(editable.run("-c", code).stdout.split())
    without = set(editable.run("-c", code, EARWITNESS_DISABLE="1").stdout.split())
    assert "cot_loss_weight" in fields - without
    assert fields - without == OUR_FIELDS - without  # ours may narrow a field of the host


def test_the_script_that_torchrun_starts_has_our_training_fields(normal):
    """Workers run the host's launcher.py by its path; its ``-h`` prints every training field."""
    package = normal.run("-c", "import importlib.util as u; print(u.find_spec('llamafactory').origin)").stdout
    shown = normal.run(str(Path(package).with_name("launcher.py")), "-h").stdout
    assert all(f"--{field}" in shown for field in OUR_FIELDS)


def test_uninstalling_leaves_nothing_and_a_forgotten_pth_file_is_harmless(installed):
    pth = (installed.site / "earwitness.pth").read_text()
    installed.run("-m", "pip", "uninstall", "-q", "-y", "earwitness")
    assert installed.listing() == installed.before
    (installed.site / "earwitness.pth").write_text(pth)
    host = installed.folder / "host" / "llamafactory"
    host.mkdir(parents=True)
    (host / "__init__.py").touch()
    result = installed.run("-c", "import llamafactory; print('fine')", PYTHONPATH=str(host.parent))
    assert (result.stdout, result.stderr) == ("fine\n", "")


class TestPins:
    def test_every_requirement_and_extra_is_pinned_within_its_range(self):
        requirements = [Requirement(line) for line in importlib.metadata.requires("earwitness") or []]
        assert requirements
        pins = re.findall(r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.M)
        pins = {name.lower().replace("_", "-"): version for name, version in pins}
        for requirement in requirements:
            assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement

    def test_the_hosts_range_is_the_one_the_hooks_were_tested_on(self):
        requirements = [Requirement(line) for line in importlib.metadata.requires("earwitness") or []]
        assert {str(autoload.tested_range())} == {
            str(SpecifierSet(str(requirement.specifier)))
            for requirement in requirements
            if requirement.name == "llamafactory"
        }


class TestSetUpScript:
    """Faults of the machine, each one line before anything is created."""

    @pytest.fixture
    def checkout(self, tmp_path) -> Path:
        for name in ("scripts/setup.sh", "setup.py", "constraints.txt", "plugin/earwitness.pth"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / name)
        (tmp_path / "commands").mkdir()
        return tmp_path

    def setup(self, checkout: Path, **variables: str) -> str:
        path = f"{checkout / 'commands'}{os.pathsep}{os.environ['PATH']}"
        result = subprocess.run(
            ["bash", "-c", "set -euo pipefail; . scripts/setup.sh; setup"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": path} | variables,
        )
        assert (result.returncode, result.stdout) == (1, "")
        assert not (checkout / ".venv").exists()
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    def command(self, checkout: Path, name: str, script: str) -> str:
        path = checkout / "commands" / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        return str(path)

    def test_python_of_another_version(self, checkout):
        old = self.command(checkout, "python3.10", "exit 1")
        message = self.setup(checkout, PYTHON=old)
        assert message.startswith(f"error: Python 3.11 or 3.12 is needed, and none is among: {old}; fix: ")

    def test_python_without_venv(self, checkout):
        bare = self.command(checkout, "bare", f'[[ $2 == *ensurepip* ]] && exit 1; exec {sys.executable} "$@"')
        message = self.setup(checkout, PYTHON=bare)
        assert message.startswith(f"error: {bare} cannot make virtual environments; fix: apt-get install python3-venv")

    def test_full_disk(self, checkout):
        self.command(checkout, "df", "echo Avail; echo 512")
        message = self.setup(checkout, PYTHON=sys.executable)
        assert "has 512 MB free and the packages need 10000 MB; fix: " in message
