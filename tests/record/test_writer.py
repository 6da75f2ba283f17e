"""A disk that fails: training goes on, nothing is lost that memory can hold, and what is lost is told."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from oracles.writing import check, declare, hand_over
from plastikit.errors import StoreWriteError
from plastikit.record import store, writer
from plastikit.record.dataset import open_run
from plastikit.record.place import Folder
from plastikit.record.store import RunStore
from plastikit.record.table import Column


class _Failing(Folder):
    """A folder on a disk whose writes fail while ``is_failing`` says so."""

    is_failing: Callable[[str], bool] = staticmethod(lambda _key: False)

    def write(self, items: Mapping[str, bytes]) -> None:
        for key, data in items.items():
            if self.is_failing(key):
                raise OSError(28, "No space left on device")
            super().write({key: data})


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> type[_Failing]:
    """The disk of all runs of a test; quick to try again."""
    monkeypatch.setattr(store, "place_of", lambda location: _Failing(Path(location)))
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.05)
    monkeypatch.setattr(_Failing, "is_failing", staticmethod(lambda _key: False))
    return _Failing


def _fail(disk: type[_Failing], when: Callable[[str], bool]) -> None:
    disk.is_failing = staticmethod(when)


def _fresh(path: Path, **options: str) -> RunStore:
    return RunStore(path, configuration={}, provenance={}, **options)


@pytest.mark.parametrize("failing", ["zarr.json", "norm/c", "training/loss", "events/message", ""])
def test_nothing_is_lost_while_memory_lasts(tmp_path: Path, disk: type[_Failing], failing: str) -> None:
    """Whichever file it is that cannot be written: one warning, readers see the last commit, and later everything."""
    run = _fresh(tmp_path / "run.zarr")
    layout = declare(run)
    for step in range(10):
        hand_over(run, layout, step)
    run.commit()
    _fail(disk, lambda key: failing in key)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(10, 300):
            hand_over(run, layout, step)
            if step % 40 == 0:
                time.sleep(0.1)
                assert check(open_run(tmp_path / "run.zarr"))["diagnostics"] == 10
        _fail(disk, lambda _key: False)
        time.sleep(0.5)
        hand_over(run, layout, 300)
    messages = [str(each.message) for each in told]
    assert len(messages) == 2
    assert "cannot be written: No space left on device. Training goes on; records are kept in memory" in messages[0]
    assert "is written again; no rows were lost" in messages[1]
    run.close()
    assert check(open_run(tmp_path / "run.zarr"))["diagnostics"] == 301
    assert "dropped" not in open_run(tmp_path / "run.zarr").attrs


@pytest.mark.filterwarnings("ignore")
def test_what_was_dropped_is_said(tmp_path: Path, disk: type[_Failing], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound the buffer gives up the oldest rows; the run says how many, of which steps, and why."""
    monkeypatch.setattr(writer, "KEPT_BYTES", 40_000)
    run = _fresh(tmp_path / "run.zarr")
    run.table("training").declare("loss", Column())
    run.append("training", 0, {"loss": 0.0})
    run.commit()
    _fail(disk, lambda _key: True)
    for step in range(1, 500):
        run.append("training", step, {"loss": float(step)})
        if step % 100 == 0:
            time.sleep(0.12)
    _fail(disk, lambda _key: False)
    run.close()
    tree = open_run(tmp_path / "run.zarr")
    steps = tree["training"]["step"].values
    (dropped,) = tree.attrs["dropped"]
    assert (dropped["group"], dropped["first"], dropped["reason"]) == ("training", 1, "No space left on device")
    assert dropped["rows"] == dropped["last"]
    assert steps.tolist() == [0, *range(dropped["last"] + 1, 500)]
    np.testing.assert_array_equal(tree["training"]["loss"].values, steps)
    assert 300 < dropped["rows"] < 480


def test_a_disk_that_does_not_answer(tmp_path: Path, disk: type[_Failing], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded even then: rows are refused after one wait, and the run says which."""
    monkeypatch.setattr(store, "KEPT_BYTES", 3_000)
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 0.3)
    answers = threading.Event()
    run = _fresh(tmp_path / "run.zarr")
    run.table("training").declare("loss", Column(dtype="float64"))
    run.commit()
    _fail(disk, lambda _key: not answers.wait(20))
    start = time.monotonic()
    for step in range(500):
        run.append("training", step, {"loss": float(step)})
    assert 0.3 < time.monotonic() - start < 2
    answers.set()
    run.commit()
    with pytest.warns(UserWarning, match=r"\d+ rows were lost, because the disk did not answer"):
        run.append("training", 500, {"loss": 0.0})
    run.close()
    tree = open_run(tmp_path / "run.zarr")
    (dropped,) = tree.attrs["dropped"]
    assert (dropped["group"], dropped["last"], dropped["reason"]) == ("training", 499, "the disk did not answer")
    assert tree["training"]["step"].values.tolist() == [*range(dropped["first"]), 500]
    assert dropped["rows"] == 500 - dropped["first"] > 100


def test_a_disk_that_is_slower_than_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits for it, and nothing is lost."""
    monkeypatch.setattr(store, "KEPT_BYTES", 3_000)
    run = _fresh(tmp_path / "run.zarr")
    run.table("training").declare("loss", Column(dtype="float64"))
    for step in range(2000):
        run.append("training", step, {"loss": float(step)})
    run.close()
    tree = open_run(tmp_path / "run.zarr")
    assert "dropped" not in tree.attrs
    assert tree["training"]["loss"].values.tolist() == list(range(2000))


def test_an_error_where_it_is_asked_for(tmp_path: Path, disk: type[_Failing]) -> None:
    """With ``on_error="raise"`` the next row raises, is kept all the same, and so do commit and close."""
    run = _fresh(tmp_path / "run.zarr", on_error="raise")
    run.table("training").declare("loss", Column())
    run.append("training", 0, {"loss": 0.0})
    _fail(disk, lambda _key: True)
    with pytest.raises(StoreWriteError, match=r"No space left on device; 1 rows are kept"):
        run.commit()
    with pytest.raises(StoreWriteError, match=r"what was recorded is kept"):
        run.append("training", 1, {"loss": 1.0})
    with pytest.raises(OSError, match=r"Make room or mend the path"):
        run.close()
    assert run.state == "running"
    _fail(disk, lambda _key: False)
    run.close()
    assert open_run(tmp_path / "run.zarr")["training"]["loss"].values.tolist() == [0, 1]


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path, disk: type[_Failing]) -> None:
    """The error comes at once, and the next attempt finds the place free."""
    _fail(disk, lambda key: key == "zarr.json")
    with pytest.raises(StoreWriteError, match="No space left on device"):
        _fresh(tmp_path / "run.zarr")
    assert not (tmp_path / "run.zarr").exists()
    _fail(disk, lambda _key: False)
    _fresh(tmp_path / "run.zarr").close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(file: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), file.open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


@pytest.mark.filterwarnings("ignore")
def test_a_full_disk(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one: readers see the last commit while it is full; with room again, everything."""
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.05)
    ballast = small / "ballast"
    run = _fresh(small / "run.zarr")
    layout = declare(run)
    hand_over(run, layout, 0)
    run.commit()
    _fill(ballast)
    for step in range(1, 400):
        hand_over(run, layout, step)
    time.sleep(0.3)
    run.commit()
    assert check(open_run(small / "run.zarr"))["diagnostics"] == 1
    run.close()
    assert run.state == "running"
    ballast.unlink()
    run.close()
    assert check(open_run(small / "run.zarr"))["diagnostics"] == 400
    assert not list(small.rglob("*.partial"))


@pytest.mark.filterwarnings("ignore")
def test_a_disk_that_becomes_read_only(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one: what was committed is readable, and writable again everything is."""
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.05)
    run = _fresh(small / "run.zarr")
    layout = declare(run)
    hand_over(run, layout, 0)
    run.commit()
    # Nothing may be open for writing at that moment, or the system refuses.
    run._writer._claim.let_go()  # type: ignore[attr-defined]
    monkeypatch.setattr(type(run._writer._claim), "renew", lambda _self: None)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for step in range(1, 50):
        hand_over(run, layout, step)
    time.sleep(0.3)
    assert run._writer.trouble is not None
    assert "Read-only file system" in str(run._writer.trouble)
    assert check(open_run(small / "run.zarr"))["diagnostics"] == 1
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    run.close()
    assert check(open_run(small / "run.zarr"))["diagnostics"] == 50


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_is_deleted_stays_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on, the user hears of it, and no half of a run appears."""
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.05)
    run = _fresh(tmp_path / "run.zarr")
    layout = declare(run)
    hand_over(run, layout, 0)
    run.commit()
    shutil.rmtree(tmp_path / "run.zarr")
    time.sleep(0.2)
    with pytest.warns(UserWarning, match="was deleted or moved"):
        hand_over(run, layout, 1)
    run.close()
    assert not (tmp_path / "run.zarr").exists()
