"""A root made anew: shapes from the labels and steps on disk, and all that was lost said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oracles.damage import varied_run
from oracles.memory import Memory
from plastikit.record.opening import open_place
from plastikit.record.repair import mend
from plastikit.record.store import RunStore
from plastikit.record.table import Column


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of many kinds of files."""
    return varied_run(tmp_path_factory.mktemp("restoration") / "run.zarr")


def _without_root(folder: Path) -> Memory:
    place = Memory.of(folder)
    del place.files["zarr.json"], place.files["zarr.copy.json"]
    return place


def test_values_come_back(folder: Path) -> None:
    """All groups are as they were; settings are empty, and the run says why."""
    place = _without_root(folder)
    mend(place)
    before, after = open_place(Memory.of(folder)), open_place(place)
    for group in before.children:
        assert before[group].identical(after[group])
    assert after.attrs["configuration"] == {}
    assert after.attrs["state"] == "interrupted"
    assert "configuration, provenance and state were lost" in after.attrs["error"]


def test_an_array_without_metadata_is_listed(folder: Path) -> None:
    """Where the array's own metadata are gone too, the variable is named as lost."""
    place = _without_root(folder)
    place.files["diagnostics/srank/zarr.json"] = b"{"
    mend(place)
    tree = open_place(place)
    assert "srank" not in tree["diagnostics"]
    [entry] = tree.attrs["dropped"]
    assert (entry["group"], entry["variable"]) == ("diagnostics", "srank")
    assert tree["diagnostics"]["unit_activation"].shape == (1500, 3)


def test_rows_of_a_run_that_was_killed(tmp_path: Path) -> None:
    """The metadata of the arrays lag behind; rows and layers are counted in steps and labels."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a"])})
    table.declare("srank", Column(dims=("layer",)))
    for step in range(1200):
        if step == 800:
            store.commit()
            table.extend_axis("layer", {"layer": np.array(["b"])})
        store.append("diagnostics", step, {"srank": np.full(table.size("layer"), float(step))})
    store.commit()
    place = _without_root(path)
    store.close()
    mend(place)
    srank = open_place(place)["diagnostics"]["srank"]
    assert srank["layer"].values.tolist() == ["a", "b"]
    assert srank["step"].values.tolist() == list(range(1200))
    assert srank.values[:, 0].tolist() == list(range(1200))
    assert srank.values[800:, 1].tolist() == list(range(800, 1200))
    assert "dropped" not in open_place(place).attrs
