"""One run at a time in a folder of checkpoints."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plastikit.errors import ConfigurationError, StoreInUseError
from plastikit.train.hold import held

_HOLD = """
import sys, time
from plastikit.train.hold import held

with held(sys.argv[1], is_new=True):
    print("held", flush=True)
    time.sleep(600)
"""


def write_into(folder: Path) -> None:
    """Write a file, and fail."""
    (folder / "checkpoint").touch()
    (folder / "checkpoint" / "manifest").touch()


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """While another process holds the folder it is refused; killed with SIGKILL, that one holds nothing."""
    folder = tmp_path / "run.checkpoints"
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreInUseError, match="in use by a training that is going on"), held(folder):
            pass
        os.kill(process.pid, signal.SIGKILL)
    with held(folder), pytest.raises(StoreInUseError), held(folder):
        pass
    assert not list(folder.iterdir())


def test_nothing_is_made_where_nothing_begins(tmp_path: Path) -> None:
    """A folder that is not there is made for a new run alone; no folder at all is held by anybody."""
    with held(tmp_path / "absent"), held(None), held(None):
        assert not (tmp_path / "absent").exists()
    with held(tmp_path / "absent", is_new=True):
        assert (tmp_path / "absent").is_dir()


def test_what_fails_before_it_writes_leaves_no_folder(tmp_path: Path) -> None:
    """A folder that was made for it goes, empty; one that holds something stays, and so does one that was there."""
    made, written, old = (tmp_path / name for name in ("made", "written", "old"))
    old.mkdir()
    for folder in (made, old):
        with pytest.raises(ZeroDivisionError), held(folder, is_new=True):
            raise ZeroDivisionError
    with pytest.raises(NotADirectoryError), held(written, is_new=True):
        write_into(written)
    assert sorted(tmp_path.iterdir()) == [old, written]


def test_a_folder_that_another_makes_first_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made and held between the look and the making: whoever comes second is refused, and takes nothing away."""
    folder, descriptors = tmp_path / "run.checkpoints", []

    def made_by_another(place: Path, **_: bool) -> None:
        os.mkdir(place)  # noqa: PTH102  the one that is replaced
        descriptors.append(os.open(place, os.O_RDONLY))
        fcntl.flock(descriptors[0], fcntl.LOCK_EX)

    monkeypatch.setattr(Path, "mkdir", made_by_another)
    with pytest.raises(StoreInUseError), held(folder, is_new=True):
        pass
    os.close(descriptors[0])
    assert folder.is_dir()


def test_a_folder_that_is_gone_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken away and made again between the opening and the lock: that lock would keep nobody out."""
    lock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        tmp_path.rmdir()
        tmp_path.mkdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(StoreInUseError), held(tmp_path):
        pass


def test_a_place_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """A file in its place is one clear error."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot hold checkpoints"), held(tmp_path / "file", is_new=True):
        pass
