"""Where a run comes from, without saying whose machine it was."""

from __future__ import annotations

import getpass
import json
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from plastikit.record.provenance import provenance


def test_versions_and_machine() -> None:
    """Versions of Python and of what numbers depend on, the machine's kind, and the time in UTC."""
    found = provenance()
    assert found["versions"]["zarr"] == metadata.version("zarr")  # type: ignore[index]
    assert found["versions"]["python"] == platform.python_version()  # type: ignore[index]
    assert str(found["started"]).endswith("Z")
    assert found["machine"]["cores"] >= 1  # type: ignore[index]


def test_nothing_private() -> None:
    """Neither the user's nor the machine's name, nor a path of it."""
    text = json.dumps(provenance())
    assert socket.gethostname() not in text
    assert str(Path.home()) + "/" not in text
    assert getpass.getuser() not in text.replace("root", "") or getpass.getuser() == "root"


def test_the_commit_of_the_users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is that of the folder of the running script, marked where files differ; elsewhere there is none."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])
    assert provenance()["commit"] is None
    (tmp_path / "train.py").write_text("")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    commit = str(provenance()["commit"])
    assert len(commit) == 40
    (tmp_path / "train.py").write_text("changed")
    assert provenance()["commit"] == f"{commit}-dirty"


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no git, there is no commit, and no error."""
    monkeypatch.setenv("PATH", "")
    assert provenance()["commit"] is None
