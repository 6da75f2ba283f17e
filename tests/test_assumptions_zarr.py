"""What plastikit leans on in Zarr and xarray: an upgrade that breaks one of these says which."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.storage import _local

from plastikit.testing import write_synthetic_run


def test_plain_xarray_reads_the_consolidated_view(tmp_path: Path) -> None:
    """Shapes come from the root's consolidated metadata, not from the arrays' own: that is what a commit replaces."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=5)
    zarr.open_array(path / "training" / "critic_loss", mode="r+").resize((50,))
    assert xr.open_datatree(path, engine="zarr")["training"]["critic_loss"].shape == (5,)


def test_without_the_root_there_is_no_tree(tmp_path: Path) -> None:
    """The root's document alone makes the run visible: before it is there, nothing is."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    (path / "zarr.json").unlink()
    with pytest.raises(Exception, match=r".+"):
        xr.open_datatree(path, engine="zarr")


def test_replacing_a_file_is_one_step(tmp_path: Path) -> None:
    """A reader that has the old file open reads it to its end; one that opens it later gets the new one."""
    old, new = tmp_path / "zarr.json", tmp_path / "zarr.json.partial"
    old.write_text("old")
    new.write_text("new")
    with old.open() as reader:
        new.replace(old)
        assert reader.read() == "old"
    assert old.read_text() == "new"
    assert not new.exists()


def test_chunks_are_replaced_whole() -> None:
    """Zarr writes a chunk beside the old one and moves it there, so that a kill leaves one or the other."""
    assert ".replace(" in inspect.getsource(_local._atomic_write)
    assert "_atomic_write" in inspect.getsource(_local._put)


def test_growing_keeps_what_is_there(tmp_path: Path) -> None:
    """A resized array keeps its values and has its fill value elsewhere, along every dimension."""
    array = zarr.create_array(tmp_path / "a", shape=(2, 1), chunks=(4, 1), dtype="float32", fill_value=np.nan)
    array[:] = [[1], [2]]
    array.resize((3, 2))
    np.testing.assert_array_equal(array[:], [[1, np.nan], [2, np.nan], [np.nan, np.nan]])


def test_coordinates_are_named_by_the_group(tmp_path: Path) -> None:
    """The group's attribute ``coordinates`` tells xarray what is no data variable."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    named = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]["diagnostics"]
    assert set(named["attributes"]["coordinates"].split()) <= set(
        xr.open_datatree(path, engine="zarr")["diagnostics"].coords
    )


def test_texts_have_any_length(tmp_path: Path) -> None:
    """Texts are stored with their own length: one that comes later may be longer than the first."""
    array = zarr.create_array(tmp_path / "a", shape=(1,), chunks=(8,), dtype=str, fill_value="")
    array[:] = np.array(["a"], dtype=object)
    array.resize((3,))
    array[1:2] = np.array(["ü" * 100], dtype=object)
    assert np.asarray(array[:]).tolist() == ["a", "ü" * 100, ""]


def test_what_a_run_holds_beside_its_arrays(tmp_path: Path) -> None:
    """Files and folders that the consolidated view does not name are nothing to plain xarray."""
    path = write_synthetic_run(tmp_path / "run.zarr", records=2)
    before = xr.open_datatree(path, engine="zarr").load()
    aside = path / "damaged" / "1" / "training" / "critic_loss"
    aside.mkdir(parents=True)
    for file in (aside / "zarr.json", path / "training" / "zarr.json.partial", path / "writer.lock"):
        file.write_text("{")
    assert xr.open_datatree(path, engine="zarr").identical(before)


def test_lazy_arrays_of_xarray() -> None:
    """What an engine hands over is asked late, by numbers, slices and lists; what was read whole is kept."""
    asked = []

    class Counting(BackendArray):
        shape, dtype = (4, 3), np.dtype("int64")

        def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._take)

        def _take(self, key: tuple[object, ...]) -> np.ndarray:
            asked.append(key)
            rows, columns = (np.arange(size)[part] for size, part in zip(self.shape, key, strict=True))
            return np.arange(12).reshape(4, 3)[np.ix_(np.atleast_1d(rows), np.atleast_1d(columns))]

    lazy: Any = Counting()
    layers: list[Any] = [indexing.LazilyIndexedArray, indexing.CopyOnWriteArray, indexing.MemoryCachedArray]
    for layer in layers:
        lazy = layer(lazy)
    variable = xr.Variable(("a", "b"), lazy)
    part = variable.isel(a=slice(None, None, -2), b=[2, 0])
    assert asked == []
    assert part.values.tolist() == [[11, 9], [5, 3]]
    assert len(asked) == 1
    assert all(isinstance(entry, int | slice | np.ndarray) for key in asked for entry in key)
    assert variable.values.tolist() == variable.values.tolist()
    assert len(asked) == 2
