"""Rows and columns of one group: growth, merging, and what is refused before it can spoil the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from plastikit.errors import ConfigurationError
from plastikit.record.store import RunStore
from plastikit.record.table import Column


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty run."""
    return RunStore(tmp_path / "run.zarr", configuration={}, provenance={})


def _read(store: RunStore, group: str = "diagnostics") -> xr.Dataset:
    store.commit()
    return xr.open_datatree(store.location, engine="zarr")[group].to_dataset().load()


def test_axes_grow_and_are_missing_before(store: RunStore) -> None:
    """A column is NaN before it appeared, and along each axis NaN before its entry appeared."""
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a"]), "layer_units": np.array([3])})
    table.declare("srank", Column(dims=("layer",)))
    store.append("diagnostics", 0, {"srank": np.array([1.0])})
    store.commit()
    table.extend_axis("layer", {"layer": np.array(["b", "c"]), "layer_units": np.array([4, 5])})
    table.declare("late", Column())
    store.append("diagnostics", 10, {"srank": np.array([2.0, 3.0, 4.0]), "late": 7.0})
    store.append("diagnostics", 20, {"srank": np.array([5.0])})
    run = _read(store)
    np.testing.assert_array_equal(run["srank"], [[1, np.nan, np.nan], [2, 3, 4], [5, np.nan, np.nan]])
    np.testing.assert_array_equal(run["late"], [np.nan, 7, np.nan])
    assert list(run["layer"].values) == ["a", "b", "c"]
    assert run["layer_units"].values.tolist() == [3, 4, 5]
    assert "layer_units" in run.coords


def test_growth_across_many_chunks(store: RunStore) -> None:
    """Thousands of rows, written in batches that do not fit the chunks, come back in order."""
    store.table("training").declare("loss", Column())
    for step in range(1000):
        store.append("training", step, {"loss": float(step)})
        if step % 137 == 0:
            store.commit()
    run = _read(store, "training")
    assert run["loss"].values.tolist() == list(range(1000))
    assert run["step"].values.tolist() == list(range(1000))


@pytest.mark.parametrize("is_committed", [False, True])
def test_rows_of_one_step_are_merged(store: RunStore, is_committed: bool) -> None:
    """Values for the step of the last row join that row, also once it lies on disk; the newer value wins."""
    table = store.table("training")
    table.declare("loss", Column())
    table.declare("value", Column())
    store.append("training", 1, {"loss": 0.0})
    store.append("training", 2, {"loss": 1.0, "value": 5.0})
    if is_committed:
        store.commit()
    store.append("training", 2, {"loss": 2.0})
    store.append("training", 3, {"value": 3.0})
    run = _read(store, "training")
    assert run["step"].values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(run["loss"], [0, 2, np.nan])
    np.testing.assert_array_equal(run["value"], [np.nan, 5, 3])


def test_going_back_is_refused(store: RunStore) -> None:
    """A smaller step than the last is an error that names both; the table is as before."""
    store.table("training").declare("loss", Column())
    store.append("training", 5, {"loss": 1.0})
    with pytest.raises(ConfigurationError, match=r"a record at step 4 follows one at 5"):
        store.append("training", 4, {"loss": 2.0})
    assert _read(store, "training")["loss"].values.tolist() == [1]


@pytest.mark.parametrize(
    "name", ["a/b", "a b", "", ".hidden", "__x", "step", "layer", "network", "zarr.json", "units_of"]
)
def test_names_that_cannot_stand(store: RunStore, name: str) -> None:
    """Names that Zarr or another coordinate has taken are refused where they are declared."""
    table = store.table("diagnostics")
    table.extend_axis("unit", {"units_of": np.array([0])})
    with pytest.raises(ConfigurationError, match=r"cannot name a variable|is the name of a dimension"):
        table.declare(name, Column())


def test_a_column_keeps_its_dimensions(store: RunStore) -> None:
    """A second declaration with other dimensions is refused, with the same ones it changes nothing."""
    table = store.table("training")
    table.declare("loss", Column())
    table.declare("loss", Column())
    with pytest.raises(ConfigurationError, match=r"one number before and is one number for each task now"):
        table.declare("loss", Column(dims=("task",)))


@pytest.mark.parametrize("value", [np.array(1.0), np.ones(2), np.ones((1, 1))])
def test_a_value_of_the_wrong_shape_spoils_nothing(store: RunStore, value: npt.NDArray[np.float64]) -> None:
    """It is refused when it is handed over, not when it is written with all the others."""
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a"])})
    table.declare("srank", Column(dims=("layer",)))
    with pytest.raises(ValueError, match=r"srank has shape"):
        store.append("diagnostics", 0, {"srank": value})
    store.append("diagnostics", 0, {"srank": np.array([3.0])})
    assert _read(store)["srank"].values.tolist() == [[3]]
