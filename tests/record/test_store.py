"""A run on disk: what readers see and when, how it ends, and what it refuses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from oracles.runs import group
from plastikit.errors import ConfigurationError, NotARunError, StoreClosedError, StoreExistsError
from plastikit.record import writer
from plastikit.record.dataset import open_run
from plastikit.record.place import Folder
from plastikit.record.store import RunStore, mark
from plastikit.record.table import Column


def _store(path: Path, **configuration: Any) -> RunStore:
    store = RunStore(path, configuration=configuration, provenance={"versions": {}})
    for part in ("diagnostics", "training"):
        store.table(part).declare("value", Column())
    return store


def test_an_empty_run_is_readable(tmp_path: Path) -> None:
    """Right after its creation a run has its four groups, its state and its schema version."""
    _store(tmp_path / "run.zarr", width=3)
    tree = xr.open_datatree(tmp_path / "run.zarr", engine="zarr")
    assert set(tree.children) == {"diagnostics", "training", "evaluation", "events"}
    assert tree.attrs["state"] == "running"
    assert tree.attrs["schema_version"] == 2
    assert tree.attrs["configuration"] == {"width": 3}


def test_rows_are_seen_at_the_commit_and_all_at_once(tmp_path: Path) -> None:
    """Between commits a reader sees none of the new rows; after it, all of them, in every variable and group alike."""
    path = tmp_path / "run.zarr"
    store = _store(path)
    for step in range(300):
        store.append("diagnostics", step, {"value": float(step)})
        store.append("training", step, {"value": float(step)})
        tree = open_run(path) if step % 37 == 0 else None
        if tree is not None:
            for name in ("diagnostics", "training"):
                data = tree[name].to_dataset().load()
                lengths = {data[name].sizes["step"] for name in data.variables}
                assert len(lengths) <= 1
                assert not lengths or max(lengths) % 128 == 0
                assert not lengths or data["value"].values.tolist() == list(range(max(lengths)))
    store.commit()
    assert open_run(path)["diagnostics"].sizes["step"] == open_run(path)["training"].sizes["step"] == 300


def test_half_written_rows_stay_unseen(tmp_path: Path) -> None:
    """A writer that dies between the chunks and the root leaves the last commit, whole and readable."""
    path = tmp_path / "run.zarr"
    store = _store(path)
    store.append("training", 0, {"value": 1.0})
    store.commit()
    store.append("training", 1, {"value": 2.0})
    (columns,) = (columns for columns in store._columns if columns.name == "training")
    columns.take()
    Folder(path).write(columns.stage())
    for training in (open_run(path)["training"], xr.open_datatree(path, engine="zarr")["training"]):
        data = training.to_dataset().load()
        assert data["value"].values.tolist() == [1]
        assert data["step"].values.tolist() == [0]


def test_an_open_reader_keeps_its_view(tmp_path: Path) -> None:
    """A run that was opened before more was written still reads as it was opened."""
    path = tmp_path / "run.zarr"
    store = _store(path)
    store.append("training", 0, {"value": 1.0})
    store.commit()
    tree = open_run(path)
    for step in range(1, 400):
        store.append("training", step, {"value": 2.0})
    store.commit()
    assert tree["training"].to_dataset()["value"].values.tolist() == [1]


def test_existing_paths_are_left_alone(tmp_path: Path) -> None:
    """Neither a run nor a file that lies there is touched."""
    path = tmp_path / "run.zarr"
    _store(path).close()
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(StoreExistsError, match=r"run.zarr exists already"):
        _store(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        _store(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"


def test_parent_folders_are_made(tmp_path: Path) -> None:
    """A run may be put into folders that do not exist yet."""
    _store(tmp_path / "a" / "b" / "run.zarr").close()
    assert open_run(tmp_path / "a" / "b" / "run.zarr").attrs["state"] == "finished"


def test_a_closed_run_takes_no_more(tmp_path: Path) -> None:
    """Rows and events after the end are an error; the first state stays."""
    store = _store(tmp_path / "run.zarr")
    store.close("failed", error="boom")
    store.close()
    with pytest.raises(StoreClosedError, match=r"is failed; start a new run"):
        store.append("training", 0, {"value": 1.0})
    with pytest.raises(StoreClosedError):
        store.event("note", "late", 0)
    attributes = open_run(tmp_path / "run.zarr").attrs
    assert (attributes["state"], attributes["error"]) == ("failed", "boom")
    assert attributes["provenance"]["ended"].endswith("Z")


def test_rows_are_committed_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 1024 rows, and a few seconds after the last commit where nothing more is handed over."""
    store = _store(tmp_path / "run.zarr")
    for step in range(1024):
        assert step != 1023 or _steps(tmp_path / "run.zarr") == 0
        store.append("training", step, {"value": 0.0})
    _wait_until(lambda: _steps(tmp_path / "run.zarr") == 1024, seconds=5)
    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.5)
    store.commit()
    store.append("training", 1024, {"value": 0.0})
    assert _steps(tmp_path / "run.zarr") == 1024
    _wait_until(lambda: _steps(tmp_path / "run.zarr") == 1025, seconds=5)
    store.close()


def test_what_was_committed_is_told(tmp_path: Path) -> None:
    """``committed`` counts rows that readers see, and no others."""
    store = _store(tmp_path / "run.zarr")
    store.append("training", 0, {"value": 0.0})
    assert store.committed["training"] == 0
    store.commit()
    assert store.committed == {"diagnostics": 0, "training": 1, "evaluation": 0, "events": 0}


def test_a_second_run_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """Nobody writes into a live run, not even one that failed to begin."""
    path = tmp_path / "run.zarr"
    store = _store(path)
    with pytest.raises(StoreExistsError):
        _store(path)
    store.append("training", 0, {"value": 1.0})
    store.close()
    assert group(path, "training")["value"].values.tolist() == [1]


def test_other_threads_beside_a_close(tmp_path: Path) -> None:
    """What is accepted is stored; what comes too late is refused; a commit beside the last one returns."""
    store = _store(tmp_path / "run.zarr")
    accepted = []

    def hand_over() -> None:
        with suppress(StoreClosedError):
            for step in range(10**9):
                store.append("training", step, {"value": float(step)})
                accepted.append(step)

    def commit() -> None:
        while store.state == "running":
            store.commit()

    threads = [threading.Thread(target=hand_over), threading.Thread(target=commit)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    store.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert _steps(tmp_path / "run.zarr") == len(accepted)


def _wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _steps(path: Path) -> int:
    return open_run(path)["training"].sizes.get("step", 0)


def test_configuration_in_json(tmp_path: Path) -> None:
    """NumPy numbers, paths, tuples and keys become JSON; what cannot is named by its place."""
    store = _store(
        tmp_path / "run.zarr",
        number=np.int64(3), zero_dim=np.array(2.5), place=Path("a/b"), pair=(1, "x"), nested={1: {"deep": None}},
        flag=True,
    )  # fmt: skip
    store.close()
    assert open_run(tmp_path / "run.zarr").attrs["configuration"] == {
        "number": 3, "zero_dim": 2.5, "place": "a/b", "pair": [1, "x"], "nested": {"1": {"deep": None}}, "flag": True,
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"metadata\['a'\]\[1\] is a object, which a store cannot hold"):
        _store(tmp_path / "other.zarr", a=[0, object()])
    assert not (tmp_path / "other.zarr").exists()


def test_mark(tmp_path: Path) -> None:
    """A run whose writer is gone can be told how it ended; its rows stay."""
    path = tmp_path / "run.zarr"
    store = _store(path)
    store.append("training", 0, {"value": 1.0})
    store.commit()
    mark(path, "failed", error="killed")
    tree = open_run(path)
    assert (tree.attrs["state"], tree.attrs["error"]) == ("failed", "killed")
    assert tree["training"].to_dataset()["value"].values.tolist() == [1]
    assert json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]


def test_not_a_run(tmp_path: Path) -> None:
    """A store whose root was never written is no run."""
    (tmp_path / "run.zarr").mkdir()
    with pytest.raises(NotARunError):
        open_run(tmp_path / "run.zarr")
