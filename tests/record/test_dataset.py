"""Reading runs: one as it lies, many side by side, and clear errors for what is none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import plastikit
from oracles.runs import group
from plastikit.errors import DamagedError, DefinitionMismatchError, NotARunError, SchemaVersionError
from plastikit.record.dataset import is_run, open_run, open_runs, read_attributes
from plastikit.record.finding import find_runs
from plastikit.record.root import seal, unseal
from plastikit.record.store import RunStore
from plastikit.record.table import Column
from plastikit.testing import write_synthetic_run, write_synthetic_sweep


def _write(
    path: Path,
    layers: Mapping[str, int],
    *,
    attrs: Mapping[str, Any] | None = None,
    steps: int = 2,
    tasks: tuple[str, ...] = (),
    **configuration: Any,
) -> Path:
    """A run with a value for each layer and unit that tells where it belongs."""
    store = RunStore(path, configuration=configuration, provenance={})
    table = store.table("diagnostics")
    names = list(layers)
    table.extend_axis("layer", {"layer": np.array(names), "layer_network": np.array([f"net of {n}" for n in names])})
    table.extend_axis(
        "unit",
        {
            "unit_layer": np.repeat(np.arange(len(names)), [layers[n] for n in names]),
            "unit_index": np.concatenate([np.arange(layers[n]) for n in names]),
        },
    )
    table.declare("srank", Column(dims=("layer",), attrs=attrs or {"definition": "srank/a", "parameter_delta": 0.01}))
    table.declare("unit_activation", Column(dims=("unit",), attrs={"definition": "unit_activation/a"}))
    for step in range(steps):
        units = np.array([100.0 * ord(name[0]) + k + step / 10 for name in names for k in range(layers[name])])
        values = np.array([float(ord(name[0])) for name in names])
        store.append("diagnostics", 10 * step, {"srank": values, "unit_activation": units})
    if tasks:
        table = store.table("evaluation")
        table.extend_axis("task", {"task": np.array(tasks)})
        table.declare("success_rate", Column(dims=("task",)))
        store.append("evaluation", 5, {"success_rate": np.array([float(len(task)) for task in tasks])})
    store.close()
    return path


def _names(paths: Any) -> list[str]:
    return list(open_runs(paths).to_dataset()["run"].values)


def test_plain_xarray_reads_the_same(tmp_path: Path) -> None:
    """Without plastikit a run opens as the same tree: values, coordinates and attributes."""
    path = write_synthetic_run(tmp_path / "run.zarr")
    plain = xr.open_datatree(path, engine="zarr")
    assert plain.attrs.pop("checksum").startswith("crc32c:")
    assert plain.identical(open_run(path))
    assert plain["diagnostics"]["srank"].attrs["definition"] == "srank/kumar2021"
    assert plastikit.open_run is open_run


def test_times_are_times(tmp_path: Path) -> None:
    """``wall_time`` is read as a date of today, and steps as whole numbers."""
    run = group(write_synthetic_run(tmp_path / "run.zarr"), "diagnostics")
    assert abs(run["wall_time"].values - np.datetime64("now")).max() < np.timedelta64(10, "m")
    assert run["step"].dtype == np.int64


@pytest.mark.parametrize("kind", ["missing", "folder", "file", "other"])
def test_what_is_no_run(kind: str, tmp_path: Path) -> None:
    """Each says what was found and what a run is."""
    path = tmp_path / "run.zarr"
    if kind == "file":
        path.write_text("x")
    elif kind != "missing":
        path.mkdir()
    if kind == "other":
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
    with pytest.raises(NotARunError, match=r"run\.zarr (does not exist; give|is not a readable run.*move it away)"):
        open_run(path)
    assert not is_run(path)


@pytest.mark.parametrize("text", ['{"attributes": ', "[1]", '{"attributes": {"schema_version": 2}}', None])
def test_a_damaged_root(text: str | None, tmp_path: Path) -> None:
    """A run whose root is not what was written is not taken for anything else; the error says what mends it."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    (path / "zarr.json").unlink()
    if text is not None:
        (path / "zarr.json").write_text(text)
    for read in (open_run, open_runs, read_attributes):
        with pytest.raises(DamagedError, match=r"run\.zarr is damaged: its zarr\.json .*'plastikit check .*--repair'"):
            read(path)
    assert not is_run(path)


def test_a_folder_of_runs_is_told(tmp_path: Path) -> None:
    """``open_run`` on a folder of runs says so, and names one of them and the next move."""
    write_synthetic_sweep(tmp_path, tasks=(1,), widths=(8,), seeds=(0, 1), records=2)
    with pytest.raises(NotARunError, match=r"it holds 2 runs, such as .*seed-0\.zarr.*open_runs"):
        open_run(tmp_path)


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    """A run of a later schema version is not read wrong; the error says what to do."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    root = unseal((path / "zarr.json").read_bytes())
    root["attributes"]["schema_version"] = 99
    (path / "zarr.json").write_bytes(seal(root))
    with pytest.raises(SchemaVersionError, match=r"schema version 99.*Install a newer plastikit"):
        open_run(path)
    with pytest.raises(SchemaVersionError):
        open_runs(tmp_path)
    assert is_run(path)


def test_a_newer_layout_with_another_seal(tmp_path: Path) -> None:
    """A root that a later version sealed in its own way is refused as newer, not as damaged."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    root = unseal((path / "zarr.json").read_bytes())
    root["attributes"] |= {"schema_version": 99, "checksum": "sha256:0"}
    for name in ("zarr.json", "zarr.copy.json"):
        (path / name).write_text(json.dumps(root))
    with pytest.raises(SchemaVersionError, match=r"schema version 99"):
        open_run(path)


def test_paths_in_every_form(tmp_path: Path) -> None:
    """A folder, a pattern, one path, a list of paths: in the order of the names, or of the list."""
    paths = write_synthetic_sweep(tmp_path, tasks=(1,), widths=(8, 16), seeds=(0,), records=2)
    names = [path.stem for path in paths]
    assert [path.stem for path in find_runs(tmp_path)] == sorted(names)
    assert _names(tmp_path) == sorted(names)
    assert _names(str(tmp_path / "*width-8*")) == [name for name in names if "width-8" in name]
    assert _names(paths[1]) == [names[1]]
    assert _names(paths[::-1]) == names[::-1]
    nowhere: list[Any] = [tmp_path / "none", str(tmp_path / "x*.zarr"), []]
    for nothing in nowhere:
        with pytest.raises(NotARunError, match=r"give"):
            open_runs(nothing)


def test_run_coordinates(tmp_path: Path) -> None:
    """Task count, width, depth, seed, architecture and state stand on the run dimension, in every group."""
    write_synthetic_run(tmp_path / "a.zarr", task_count=3, width=8, seed=4, records=5)
    write_synthetic_run(tmp_path / "b.zarr", task_count=1, width=16, seed=5, records=5, state="failed", error="x")
    tree = open_runs_quietly(tmp_path)
    for name in ("/", "diagnostics", "training", "evaluation"):
        coords = tree[name].to_dataset().coords
        assert list(coords["run"].values) == ["a", "b"]
        assert coords["task_count"].values.tolist() == [3, 1]
        assert coords["width"].values.tolist() == [8, 16]
        assert coords["depth"].values.tolist() == [2, 2]
        assert coords["seed"].values.tolist() == [4, 5]
        assert list(coords["architecture"].values) == ["multi_head", "multi_head"]
        assert list(coords["state"].values) == ["finished", "failed"]
    assert tree["diagnostics"]["srank"].dims[0] == "run"
    assert tree.attrs["runs"]["b"]["error"] == "x"


def test_missing_and_mixed_configuration(tmp_path: Path) -> None:
    """A number that one run lacks is NaN, a text that one lacks is empty."""
    _write(tmp_path / "a.zarr", {"x": 1}, width=8, seed="seven")
    _write(tmp_path / "b.zarr", {"x": 1})
    coords = open_runs(tmp_path)["diagnostics"].to_dataset().coords
    np.testing.assert_array_equal(coords["width"], [8, np.nan])
    assert list(coords["seed"].values) == ["seven", ""]


def test_runs_of_different_layers_and_widths(tmp_path: Path) -> None:
    """Every value is found again under its own layer and unit; what a run lacks is NaN."""
    _write(tmp_path / "a.zarr", {"a": 2, "b": 3})
    _write(tmp_path / "b.zarr", {"b": 4, "c": 1}, steps=3)
    run = open_runs(tmp_path)["diagnostics"].to_dataset()
    assert list(run["layer"].values) == ["a", "b", "c"]
    assert list(run["layer_network"].values) == ["net of a", "net of b", "net of c"]
    assert run["step"].values.tolist() == [0, 10, 20]
    for name, layers in (("a", {"a": 2, "b": 3}), ("b", {"b": 4, "c": 1})):
        one = run.sel(run=name)
        for layer in "abc":
            wanted = float(ord(layer)) if layer in layers else np.nan
            np.testing.assert_array_equal(one["srank"].sel(layer=layer, step=10), wanted)
            position = list(run["layer"].values).index(layer)
            units = one["unit_activation"].sel(step=10).values[one["unit_layer"].values == position]
            np.testing.assert_allclose(
                units, [100 * ord(layer) + k + 0.1 for k in range(layers.get(layer, 0))], rtol=1e-6
            )
    assert np.isnan(run["srank"].sel(run="a", step=20)).all()
    assert (run["unit_layer"].sel(run="b").values == -1).sum() == run.sizes["unit"] - 5
    assert np.isnat(run["wall_time"].sel(run="a", step=20))


def test_runs_of_different_tasks(tmp_path: Path) -> None:
    """Task sets are joined by name; a task that a run does not have is NaN in it."""
    _write(tmp_path / "a.zarr", {"x": 1}, tasks=("reach", "push-v3"))
    _write(tmp_path / "b.zarr", {"x": 1}, tasks=("window",))
    _write(tmp_path / "c.zarr", {"x": 1})
    success = open_runs(tmp_path)["evaluation"]["success_rate"].isel(step=0)
    assert success.sel(run="a", task="push-v3") == 7
    assert np.isnan(success.sel(run="a", task="window"))
    assert success.sel(run="b", task="window") == 6
    assert np.isnan(success.sel(run="c")).all()


def test_an_empty_run_joins(tmp_path: Path) -> None:
    """A run that failed before its first record is there, with NaN for all."""
    write_synthetic_run(tmp_path / "a.zarr", records=3)
    RunStore(tmp_path / "b.zarr", configuration={}, provenance={}).close("failed", error="at once")
    tree = open_runs_quietly(tmp_path)
    assert list(tree.to_dataset()["state"].values) == ["finished", "failed"]
    assert np.isnan(tree["diagnostics"]["srank"].sel(run="b")).all()
    assert not np.isnan(tree["diagnostics"]["srank"].sel(run="a")).any()
    both = open_runs_quietly([tmp_path / "b.zarr"])
    assert both["diagnostics"].sizes == {"run": 1}


def test_definitions_that_differ_are_refused(tmp_path: Path) -> None:
    """The error names the variable, the runs and how they differ; alone each of them opens."""
    _write(tmp_path / "a.zarr", {"x": 1})
    _write(tmp_path / "b.zarr", {"x": 1}, attrs={"definition": "srank/b", "parameter_delta": 0.05})
    with pytest.raises(
        DefinitionMismatchError,
        match=r"srank is not the same quantity.*a with b, definition is 'srank/a' in one and 'srank/b' in the other; "
        r"delta is 0.01 in one and 0.05",
    ):
        open_runs(tmp_path)
    assert open_runs([tmp_path / "b.zarr"])["diagnostics"]["srank"].attrs["parameter_delta"] == 0.05


def test_runs_of_one_name(tmp_path: Path) -> None:
    """Runs of one name in different folders are told apart by their paths."""
    paths = [write_synthetic_run(tmp_path / folder / "run.zarr", records=2) for folder in "ab"]
    assert _names(paths) == [str(path) for path in paths]


def test_running_runs_are_readable(tmp_path: Path) -> None:
    """A run that is still being written opens with what was committed."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    store.table("training").declare("loss", Column())
    assert read_attributes(path)["state"] == "running"
    assert open_run(path)["training"].sizes == {}
    store.append("training", 0, {"loss": 1.0})
    store.commit()
    assert open_run(path)["training"].sizes == {"step": 1}
    store.close()


def test_an_open_run_stays_as_it_was(tmp_path: Path) -> None:
    """Who has a run open goes on seeing the rows and layers of that moment, whatever is written after it."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    table = store.table("diagnostics")
    table.extend_axis("layer", {"layer": np.array(["a"])})
    table.declare("srank", Column(dims=("layer",)))
    store.append("diagnostics", 0, {"srank": np.array([1.0])})
    store.commit()
    before = open_run(path)["diagnostics"]
    joined = open_runs_quietly(path)["diagnostics"]
    for step in range(1, 1500):
        if step == 700:
            table.extend_axis("layer", {"layer": np.array(["b"])})
        store.append("diagnostics", step, {"srank": np.arange(table.size("layer")) + step})
    store.close()
    assert before["srank"].values.tolist() == [[1.0]]
    assert joined["srank"].values.tolist() == [[[1.0]]]
    after = open_run(path)["diagnostics"]["srank"]
    assert after.shape == (1500, 2)
    assert after.values[1499].tolist() == [1499.0, 1500.0]
    assert np.isnan(after.values[:700, 1]).all()


def test_unfinished_runs_are_told(tmp_path: Path) -> None:
    """One warning at the caller's line, and an attribute, name the runs that did not finish, with their states."""
    write_synthetic_run(tmp_path / "a.zarr", records=2)
    write_synthetic_run(tmp_path / "b.zarr", records=2, state="failed", error="x")
    mark_running(write_synthetic_run(tmp_path / "c.zarr", records=2))
    with pytest.warns(
        UserWarning, match=r"2 of 3 runs did not finish.*: b \(failed\), c \(abandoned\); no process"
    ) as told:
        tree = open_runs(tmp_path)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert tree.attrs["unfinished"] == {"b": "failed", "c": "abandoned"}
    assert list(tree["state"].values) == ["finished", "failed", "running"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_runs(tmp_path / "a.zarr").attrs["unfinished"] == {}


def test_a_run_that_is_being_written_is_running(tmp_path: Path) -> None:
    """Where a process still writes a run, that is what is said of it."""
    store = RunStore(tmp_path / "a.zarr", configuration={}, provenance={})
    with pytest.warns(UserWarning, match=r"1 of 1 runs did not finish.*: a \(running\)"):
        open_runs(tmp_path)
    store.close()


def mark_running(path: Path) -> Path:
    """A run that seems to go on."""
    root = unseal((path / "zarr.json").read_bytes())
    root["attributes"]["state"] = "running"
    (path / "zarr.json").write_bytes(seal(root))
    return path


def open_runs_quietly(paths: Any) -> xr.DataTree:
    """``open_runs`` where it is known that not all runs are finished."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_runs(paths)
