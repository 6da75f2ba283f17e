"""How the command line ends: one line and an exit code, whatever a command raises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

import plastikit
from plastikit.cli.main import INTERRUPTED_LINE, app, build
from plastikit.errors import NotARunError


def _failing(error: BaseException) -> typer.Typer:
    """The real root over one command, which raises ``error``."""
    root = build(())

    @root.command()
    def fail() -> None:
        raise error

    return root


def _run(root: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(root, arguments)


def test_foreseen_error_is_one_line() -> None:
    """An error of plastikit's own is its message on the error stream, and exit code 1."""
    result = _run(_failing(NotARunError("no run at 'here.zarr'; give the folder of a run")), "fail")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: no run at 'here.zarr'; give the folder of a run\n"


def test_unforeseen_error_points_to_debug() -> None:
    """Any other error is named in one line, with the way to its traceback in the next."""
    result = _run(_failing(ZeroDivisionError("division by zero\nand a second line")), "fail")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: ZeroDivisionError: division by zero"
    assert "--debug" in result.stderr.splitlines()[1]
    assert len(result.stderr.splitlines()) == 2


def test_warning_is_one_line() -> None:
    """What a user is warned of is a line on the error stream, without the place in the code."""
    root = build(())

    @root.command()
    def warn() -> None:
        warnings.warn("half of it is missing", stacklevel=1)

    result = _run(root, "warn")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "warning: half of it is missing\n"


@pytest.mark.parametrize("error", [NotARunError("no run"), ZeroDivisionError("division")])
def test_debug_shows_the_traceback(error: Exception) -> None:
    """With --debug the error itself comes through."""
    result = _run(_failing(error), "--debug", "fail")
    assert result.exit_code == 1
    assert result.exception is error


def test_interrupt_is_one_line() -> None:
    """Ctrl-C ends a command with exit code 130 and one line."""
    result = _run(_failing(KeyboardInterrupt()), "fail")
    assert (result.exit_code, result.stderr.strip()) == (130, INTERRUPTED_LINE)


@pytest.mark.parametrize(
    ("arguments", "found", "place"),
    [
        (["--bogus"], "--bogus", "plastikit"),
        (["bogus"], "'bogus'", "plastikit"),
        (["fail", "--bogus"], "--bogus", "plastikit fail"),
        (["fail", "bogus"], "bogus", "plastikit fail"),
    ],
)
def test_wrong_call_is_one_line(arguments: list[str], found: str, place: str) -> None:
    """A wrong call is named in one line that ends with where to look, and exit code 2."""
    result = CliRunner().invoke(_failing(AssertionError("never runs")), arguments, prog_name="plastikit")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert found in result.stderr
    assert result.stderr.endswith(f"See '{place} --help'.\n")


def test_version() -> None:
    """--version answers with the version alone."""
    result = _run(app, "--version")
    assert (result.exit_code, result.output) == (0, f"plastikit {plastikit.__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help(arguments: list[str]) -> None:
    """Called without a command, plastikit shows what there is."""
    result = _run(app, *arguments)
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_group_without_command_shows_its_help() -> None:
    """A group of commands, called without one, shows what there is, and that this was no call."""
    result = _run(app, "analyze")
    assert result.exit_code == 2
    assert "scaling" in result.stdout
    assert result.stderr == ""


def test_real_interrupt(tmp_path: Path) -> None:
    """A process that gets Ctrl-C ends with 130 and no traceback."""
    program = tmp_path / "program.py"
    program.write_text(
        "import time\n"
        "from plastikit.cli.main import build\n"
        "root = build(())\n"
        "@root.command()\n"
        "def wait() -> None:\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(30)\n"
        "root()\n"
    )
    command = [sys.executable, "-P", os.fspath(program), "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read().strip() == INTERRUPTED_LINE
