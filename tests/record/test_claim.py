"""One writer at a time: who is refused, and when a run is free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from plastikit.errors import StoreInUseError
from plastikit.record.claim import LOCK, claim, is_claimed
from plastikit.record.place import Folder

_HOLD = """
import sys, time
from pathlib import Path
from plastikit.record.claim import claim
from plastikit.record.place import Folder
right = claim(Folder(Path(sys.argv[1])))
if "fork" in sys.argv:
    import os
    if os.fork() == 0:
        time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


def _holder(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HOLD, str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """In the same process too. Released, it is free."""
    place = Folder(tmp_path)
    assert not is_claimed(place)
    right = claim(place)
    assert is_claimed(place)
    with pytest.raises(StoreInUseError, match=r"is being written by this process; close the monitor"):
        claim(place)
    right.renew()
    right.release()
    right.release()
    assert not is_claimed(place)
    assert not (tmp_path / LOCK).exists()
    claim(place).release()


@pytest.mark.parametrize("options", [(), ("fork",)])
def test_a_killed_writer_is_taken_over(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Refused while it lives; free at once when it is gone, also where a child that it forked lives on."""
    process = _holder(tmp_path, *options)
    try:
        assert is_claimed(Folder(tmp_path))
        with pytest.raises(StoreInUseError, match=rf"process {process.pid}"):
            claim(Folder(tmp_path))
        process.kill()
        process.wait()
        assert not is_claimed(Folder(tmp_path))
        claim(Folder(tmp_path)).release()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_run_that_was_deleted_is_no_one_s(tmp_path: Path) -> None:
    """Its writer learns of it, and does not bring it back."""
    folder = tmp_path / "run.zarr"
    folder.mkdir()
    right = claim(Folder(folder))
    (folder / LOCK).unlink()
    folder.rmdir()
    with pytest.raises(FileNotFoundError, match="was deleted or moved"):
        right.renew()
    right.release()
