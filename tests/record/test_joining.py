"""Many runs as one: nothing is read but labels, every value is found again, and definitions are held apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from oracles.memory import Memory
from plastikit.errors import DamagedError, DefinitionMismatchError
from plastikit.record.dataset import open_run, open_runs
from plastikit.record.joining import JOINED, check_definitions, join, read_members
from plastikit.record.store import RunStore
from plastikit.record.table import Column
from plastikit.testing import write_synthetic_run

OF_LABELS = {"layer_network", "parameter_network", "parameter_kind"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of different tasks, widths, depths and lengths."""
    folder = tmp_path_factory.mktemp("joining")
    write_synthetic_run(folder / "a.zarr", task_count=1, width=4, depth=2, records=6)
    write_synthetic_run(folder / "b.zarr", task_count=3, width=8, depth=1, records=9, interval=50)
    write_synthetic_run(folder / "c.zarr", task_count=2, width=4, depth=3, records=1)
    return folder


def _scored(path: Path, group: str, attrs: Mapping[str, Any], dims: tuple[str, ...] = ()) -> Path:
    store = RunStore(path, configuration={}, provenance={})
    table = store.table(group)
    for dim in dims:
        table.extend_axis(dim, {dim: np.array(["x"])})
    table.declare("score", Column(dims=dims, attrs=attrs))
    store.append(group, 0, {"score": np.ones([1] * len(dims))})
    store.close()
    return path


def _expected(one: xr.Dataset, name: str, joined: xr.Dataset) -> np.ndarray[Any, Any]:
    """A variable of one run, put by hand where the joined runs have its labels."""
    variable, target = one[name], joined[name].isel(run=0)
    missing: Any = {"f": np.nan, "i": -1, "M": np.datetime64("NaT")}.get(variable.dtype.kind, "")
    wanted = np.full(target.shape, missing, dtype=variable.dtype)
    places = []
    for dim in variable.dims:
        labels = range(one.sizes[dim]) if dim == "unit" else one[dim].values.tolist()
        known = range(joined.sizes[dim]) if dim == "unit" else joined[dim].values.tolist()
        places.append([list(known).index(label) for label in labels])
    values = variable.values
    if name == "unit_layer":
        values = np.array([joined["layer"].values.tolist().index(one["layer"].values[own]) for own in values])
    wanted[np.ix_(*places)] = values
    return wanted


def test_every_value_is_found_again(folder: Path) -> None:
    """Whatever a run holds stands under its own labels among the joined runs, and nothing else does."""
    joined = open_runs(folder)
    for group in JOINED:
        together = joined[group].to_dataset()
        for run in together["run"].values:
            one = open_run(folder / f"{run}.zarr").children[group].to_dataset(inherit=False)
            for name in set(one.variables) - set(one.indexes) - OF_LABELS:
                found = together[name].sel(run=run)
                np.testing.assert_array_equal(found.values, _expected(one, name, together), err_msg=f"{run} {name}")
                assert found.attrs == one[name].attrs
            for name in OF_LABELS & set(one.variables):
                dim = one[name].dims[0]
                found = together[name].sel({dim: one[dim].values})
                assert found.values.tolist() == one[name].values.tolist()


def test_parts_of_many_runs(folder: Path) -> None:
    """A part of the joined runs is the same whether it is chosen before or after it is read."""
    lazy, loaded = open_runs(folder)["diagnostics"]["dormant_fraction"], open_runs(folder)["diagnostics"].load()
    loaded = loaded["dormant_fraction"]
    parts: list[dict[str, Any]] = [
        {"run": [2, 0]},
        {"step": slice(None, None, -2), "run": 1},
        {"layer": [4, 0], "tau": -1},
        {"step": []},
    ]
    for part in parts:
        xr.testing.assert_identical(lazy.isel(part), loaded.isel(part))


def test_only_labels_are_read(folder: Path) -> None:
    """Joining asks each run for its root, then once for its labels; a metric of one run is asked of that run alone."""
    places = [Memory.of(folder / f"{name}.zarr") for name in "abc"]
    members = read_members(["a", "b", "c"], places)
    check_definitions(members)
    dataset = join(members, "diagnostics", {"run": ("run", np.array(["a", "b", "c"], dtype=object))})
    for place in places:
        assert place.asked[0] == ["zarr.json"]
        read = {key.split("/")[1] for key in place.asked[1]}
        assert read <= {*dataset.indexes, *OF_LABELS, "task"}
        assert len(place.asked) == 2
        place.asked.clear()
    assert dataset["srank"].isel(run=1, step=0).values.size
    assert [place.asked for place in places] == [[], [["diagnostics/srank/c/0/0"]], []]


@pytest.mark.parametrize("group", ["diagnostics", "training", "evaluation"])
@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"units": "1"}, {"units": "percent"}, "units is '1' in one and 'percent' in the other"),
        (
            {"source": "training batch"},
            {"source": "probe batch"},
            "source is 'training batch' in one and 'probe batch'",
        ),
        ({"definition": "score/a"}, {"definition": "score/b"}, "definition is 'score/a' in one and 'score/b'"),
        ({"parameter_tau": 0.1}, {"parameter_tau": 0.2}, "tau is 0.1 in one and 0.2 in the other"),
        ({"parameter_tau": 0.1}, {}, "tau is 0.1 in one and None in the other"),
    ],
)
def test_every_difference_is_told(
    group: str, first: dict[str, Any], second: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """Unit, source, definition and constants: runs that differ in one are not joined, in whatever group."""
    _scored(tmp_path / "a.zarr", group, first)
    _scored(tmp_path / "b.zarr", group, first)
    _scored(tmp_path / "c.zarr", group, second)
    with pytest.raises(DefinitionMismatchError, match=f"score is not the same.*comparing a with c, {told}.*apart"):
        open_runs(tmp_path)


def test_other_dimensions_are_told(tmp_path: Path) -> None:
    """A variable that stands along other dimensions in another run is another quantity."""
    _scored(tmp_path / "a.zarr", "training", {}, ("head",))
    _scored(tmp_path / "b.zarr", "training", {}, ("quantile",))
    with pytest.raises(DefinitionMismatchError, match="along step, head in one and step, quantile in the other"):
        open_runs(tmp_path)


def test_a_variable_that_some_runs_lack(tmp_path: Path) -> None:
    """It is NaN in these, and keeps its passport."""
    _scored(tmp_path / "a.zarr", "diagnostics", {})
    write_synthetic_run(tmp_path / "b.zarr", records=2)
    joined = open_runs(tmp_path)["diagnostics"]
    assert np.isnan(joined["srank"].sel(run="a")).all()
    assert joined["srank"].attrs["definition"] == "srank/kumar2021"
    assert np.isnan(joined["score"].sel(run="b")).all()
    assert joined["score"].sel(run="a", step=0) == 1


def test_damage_in_one_of_many(folder: Path, tmp_path: Path) -> None:
    """A damaged chunk of one run is told with that run's name, and the others can be read."""
    for name in "ab":
        Memory.of(folder / f"{name}.zarr").put_into(tmp_path / f"{name}.zarr")
    (tmp_path / "b.zarr" / "diagnostics" / "srank" / "c" / "0" / "0").write_bytes(b"x")
    joined = open_runs(tmp_path)["diagnostics"]["srank"]
    assert not np.isnan(joined.sel(run="a", step=0)).all()
    with pytest.raises(DamagedError, match=r"b\.zarr is damaged: diagnostics/srank cannot be read in rows 0 to 8"):
        joined.load()
