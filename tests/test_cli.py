"""The ``earwitness`` command as a user meets it: what it lists, how it fails, what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from earwitness import cli
from earwitness.cli.main import commands
from earwitness.errors import UserError

HEAVY = ("torch", "transformers", "llamafactory", "datasets", "numpy", "scipy")


def earwitness(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "earwitness.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_with_what_it_does():
    result = earwitness("--help")
    assert result.returncode == 0
    assert commands()
    for name, summary in commands().items():
        assert summary.strip(), f"earwitness/cli/{name}.py needs a first docstring line: --help shows it"
        assert summary in result.stdout


def test_no_command_shows_the_usage_and_fails():
    result = earwitness()
    assert result.returncode == 2
    assert "usage: earwitness" in result.stdout


@pytest.mark.parametrize("name", commands())
def test_help_of_a_command_imports_nothing_heavy(name):
    code = f"""
import sys
from earwitness.cli.main import main
try:
    status = main([{name!r}, "--help"])
except SystemExit as end:
    status = end.code or 0
assert status == 0, status
print("HEAVY", sorted(set({HEAVY}) & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "usage: " in result.stdout
    assert "HEAVY []" in result.stdout


def test_unknown_command_is_one_line_with_the_nearest_name():
    name = next(iter(commands()))
    result = earwitness(name[:-1] + "x")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: earwitness has no command '{name[:-1]}x'; did you mean '{name}'?")
    assert len(result.stderr.splitlines()) == 1


def test_a_users_mistake_is_one_line_and_status_2(capsys):
    def command(argv):
        raise UserError(f"{argv[0]}: no such file")

    assert cli.run(command, ["clip.wav"]) == 2
    assert capsys.readouterr() == ("", "error: clip.wav: no such file\n")


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda argv: 1 // 0, [])


def test_ctrl_c_is_status_130(capsys):
    def command(argv):
        raise KeyboardInterrupt

    assert cli.run(command, []) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "earwitness.cli.main", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")
