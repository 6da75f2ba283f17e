"""One run as xarray has it: the same tree as xarray's own, opened with two requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from oracles.damage import varied_run
from oracles.memory import Memory
from plastikit.errors import DamagedError, NotARunError
from plastikit.record.committed import GROUPS
from plastikit.record.opening import open_place
from plastikit.record.store import RunStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with several chunks along several dimensions, texts and events."""
    return varied_run(tmp_path_factory.mktemp("opening") / "run.zarr")


def test_the_same_tree_as_xarrays_own(folder: Path) -> None:
    """Values, types, coordinates, indexes and attributes; texts are plain Python's."""
    plain, ours = xr.open_datatree(folder, engine="zarr"), open_place(Memory.of(folder))
    plain.attrs.pop("checksum")
    assert plain.identical(ours)
    assert set(ours.children) == set(GROUPS)
    for group in GROUPS:
        theirs, own = plain[group].to_dataset(), ours[group].to_dataset()
        assert set(theirs.coords) == set(own.coords)
        assert set(theirs.indexes) == set(own.indexes)
        for name, variable in theirs.variables.items():
            assert own[name].dtype == (object if variable.dtype.kind == "T" else variable.dtype)
            if variable.dtype.kind == "M":
                assert own[name].encoding["units"] == variable.encoding["units"]


def test_two_requests(folder: Path) -> None:
    """The root, and then all steps and labels at once: on a distant place each request takes its time."""
    place = Memory.of(folder)
    open_place(place)
    assert place.asked[0] == ["zarr.json"]
    assert {key.split("/c/")[0] for key in place.asked[1]} == {
        *("diagnostics/step", "diagnostics/layer", "diagnostics/tau", "training/step", "events/event")
    }
    assert len(place.asked) == 2


def test_damaged_steps_are_told_at_once(folder: Path) -> None:
    """Without its steps and labels a group cannot be opened: the error says which rows of what are damaged."""
    place = Memory.of(folder)
    place.files["training/step/c/1"] = place.files["training/step/c/0"][:-1]
    with pytest.raises(DamagedError, match=r"training/step cannot be read in rows 1024 to 1499"):
        open_place(place)


def test_an_empty_run(tmp_path: Path) -> None:
    """A run without a row has its groups, and nothing in them."""
    RunStore(tmp_path / "run.zarr", configuration={}, provenance={}).close()
    tree = open_place(Memory.of(tmp_path / "run.zarr"))
    assert set(tree.children) == set(GROUPS)
    assert all(not tree[group].to_dataset().variables for group in GROUPS)


def test_what_can_be_done_with_an_open_run(folder: Path, tmp_path: Path) -> None:
    """It is copied, written and chunked as any other tree."""
    tree = open_place(Memory.of(folder))
    diagnostics = tree["diagnostics"].to_dataset()
    assert diagnostics.copy(deep=True).identical(diagnostics)
    diagnostics.to_zarr(tmp_path / "again.zarr", zarr_format=3, consolidated=False)
    again = xr.open_zarr(tmp_path / "again.zarr", consolidated=False)
    np.testing.assert_array_equal(again["srank"], diagnostics["srank"])
    np.testing.assert_array_equal(again["wall_time"], diagnostics["wall_time"])
    np.testing.assert_array_equal(diagnostics["srank"].mean("step"), diagnostics["srank"].load().mean("step"))


def test_nothing_is_no_run() -> None:
    """Where nothing lies, that is what is said."""
    with pytest.raises(NotARunError, match=r"run\.zarr does not exist"):
        open_place(Memory({}))
