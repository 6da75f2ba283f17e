"""A run that is gone on with: no gap, no duplicate, nothing of what was taken out."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from oracles.runs import group
from oracles.writing import Resumed, check, declare, hand_over, layout_of, resumed
from plastikit.errors import ConfigurationError, NotARunError, StoreInUseError
from plastikit.record.dataset import open_run
from plastikit.record.store import RunStore
from plastikit.record.table import Column

_PROCESSES = multiprocessing.get_context("fork")


def _open(path: Path, at: int | None = None, width: int = 3) -> RunStore:
    return RunStore(path, configuration={"width": width}, provenance={"started": "now"}, resume=resumed(path, at))


def _fill(store: RunStore, start: int, stop: int) -> None:
    table = store.table("training")
    table.declare("loss", Column())
    for step in range(start, stop):
        store.append("training", step, {"loss": float(step)})


def test_a_group_without_further_rows_stays_as_it_was(tmp_path: Path) -> None:
    """What was a coordinate is one after going on, also where nothing is added to its group any more."""
    path = tmp_path / "run.zarr"
    store = _open(path)
    store.table("evaluation").declare("env_step", Column(dtype="float64", coordinate=True))
    store.append("evaluation", 0, {"env_step": 10.0})
    _fill(store, 0, 3)
    store.close("failed", error="killed")
    store = _open(path, 1)
    _fill(store, 2, 4)
    store.close()
    assert "env_step" in group(path, "evaluation").coords


@pytest.mark.parametrize("last", [1, 5, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("at", [0, 4, 1022, 1023, 1024, 2500])
def test_rows_behind_the_step_are_made_again(tmp_path: Path, last: int, at: int) -> None:
    """Wherever the chunks end: the rows up to the step stay, the later ones are replaced by those recorded now."""
    path = tmp_path / "run.zarr"
    store = _open(path)
    _fill(store, 0, last)
    store.close("failed", error="killed")
    store = _open(path, at)
    kept = min(at + 1, last)
    assert open_run(path)["training"].sizes["step"] == kept
    assert open_run(path).attrs["state"] == "running"
    store.append("training", max(at, last - 1 if last <= at else at), {"loss": -1.0})
    _fill(store, at + 1, at + 10)
    store.close()
    steps = [*range(kept), *([at] if at >= last else []), *range(at + 1, at + 10)]
    found = group(path, "training")
    assert found["step"].values.tolist() == steps
    assert found["loss"].values.tolist() == [-1.0 if step == at else float(step) for step in steps]
    tree = open_run(path)
    assert (tree.attrs["state"], "error" in tree.attrs) == ("finished", False)
    assert len(tree.attrs["provenance"]["resumed"]) == 1
    assert str(tree["events"]["message"].values[-1]) == f"{max(0, last - 1 - at)} rows of later steps were taken out"


def test_axes_and_columns_go_on(tmp_path: Path) -> None:
    """What was declared is known again, grows further, and the last row takes values on."""
    path = tmp_path / "run.zarr"
    store = _open(path)
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a", "b"]), "layer_units": np.array([3, 4])})
    table.declare("srank", Column(dims=("layer",), attrs={"units": "1"}))
    table.declare("env_step", Column(dtype="float64", coordinate=True))
    for step in range(3):
        store.append("diagnostics", step, {"srank": np.array([step, step + 0.5]), "env_step": 10.0 * step})
    store.close()
    store = _open(path, 1)
    table = store.table("diagnostics")
    assert (table.rows, table.last_index, table.size("layer")) == (2, 1, 2)
    table.extend_axis("layer", {"layer": np.array(["c"]), "layer_units": np.array([5])})
    table.declare("late", Column())
    store.append("diagnostics", 1, {"late": 7.0})
    store.append("diagnostics", 5, {"srank": np.array([5, 5, 5])})
    store.close()
    found = xr.open_datatree(path, engine="zarr")["diagnostics"].to_dataset().load()
    np.testing.assert_array_equal(found["srank"], [[0, 0.5, np.nan], [1, 1.5, np.nan], [5, 5, 5]])
    np.testing.assert_array_equal(found["late"], [np.nan, 7, np.nan])
    np.testing.assert_array_equal(found["env_step"], [0, 10, np.nan])
    assert found["srank"].attrs == {"units": "1"}
    assert list(map(str, found["layer"].values)) == ["a", "b", "c"]
    assert found["layer_units"].values.tolist() == [3, 4, 5]
    assert {"env_step", "layer_units"} <= set(found.coords)


def test_who_may_not_go_on(tmp_path: Path) -> None:
    """Nothing there, another's live run, or other settings: an error each, and the run as it was."""
    path = tmp_path / "run.zarr"
    with pytest.raises(NotARunError, match="does not exist"):
        RunStore(path, configuration={}, provenance={}, resume=Resumed("an id", 3))
    assert not path.exists()
    store = _open(path)
    _fill(store, 0, 5)
    store.commit()
    with pytest.raises(StoreInUseError, match="is being written by this process"):
        _open(path, 3)
    store.close()
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(ConfigurationError, match=r"width was 3 and is now 4; resume it with the same"):
        _open(path, 3, width=4)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def _write_on(path: Path, told: Connection, at: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    store = RunStore(path, configuration={}, provenance={}, resume=resumed(path, at))
    layout = declare(store) if at is None else layout_of()
    step = 0 if at is None else at + 1
    while True:
        for _ in range(random.Random(step).randrange(1, 20)):
            hand_over(store, layout, step, is_noted=False)
            step += 1
        store.commit()
        told.send(store.table("training").last_index)


def test_killed_and_resumed_again_and_again(tmp_path: Path) -> None:
    """A run that was killed thirty times, and each time gone on with from a checkpoint, is as one that never was."""
    path = tmp_path / "run.zarr"
    generator = random.Random(0)
    at: int | None = None
    for _ in range(30):
        ours, theirs = _PROCESSES.Pipe(duplex=False)
        process = _PROCESSES.Process(target=_write_on, args=(path, theirs, at), daemon=True)
        process.start()
        theirs.close()
        last = ours.recv()
        time.sleep(generator.uniform(0, 0.05))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            while True:
                last = ours.recv()
        except EOFError:
            pass
        # The training's own checkpoint is some steps old.
        at = max(0, last - generator.randrange(30))
    store = RunStore(path, configuration={}, provenance={}, resume=resumed(path, at))
    store.close()
    assert at is not None
    assert check(open_run(path), is_noted=False)["training"] == at + 1
    assert check(xr.open_datatree(path, engine="zarr"), is_noted=False)["diagnostics"] == at + 1
    assert len(open_run(path).attrs["provenance"]["resumed"]) == 30
