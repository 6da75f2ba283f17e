"""Chunks that are written without Zarr are those that Zarr reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from plastikit.record.growing import GrowingArray

CHUNK = 8


def _array(folder: Path, inner: tuple[int, ...], dtype: str = "float32") -> GrowingArray:
    missing = np.nan if dtype.startswith("float") else -1
    array = zarr.create_array(
        folder, shape=(0, *inner), chunks=(CHUNK, *inner), dtype=dtype, fill_value=missing, zarr_format=3
    )
    return GrowingArray(array, folder)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("inner", [(), (3,), (2, 5)])
def test_rows_in_pieces_of_any_length(inner: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    """Rows that were written in pieces, over many chunks, are read by Zarr as they were."""
    rows = np.random.default_rng(0).integers(0, 100, (50, *inner)).astype(dtype)
    array = _array(tmp_path / "a", inner, dtype)
    start = 0
    for length in (3, 5, 8, 1, 16, 2, 15):
        array.write(start, rows[start : start + length])
        start += length
    array.settle()
    assert start == 50
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], rows)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("last", [5, 8, 9])
def test_the_last_row_may_be_written_again(last: int, tmp_path: Path) -> None:
    """Also where it is the last of its chunk, so that the next piece begins in the chunk before."""
    array = _array(tmp_path / "a", ())
    array.write(0, np.arange(last, dtype="float32"))
    array.write(last - 1, np.array([-1, -2, -3], dtype="float32"))
    array.settle()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a")[:], [*range(last - 1), -1, -2, -3])


def test_growing_along_another_dimension(tmp_path: Path) -> None:
    """Earlier rows are missing where there was no room yet, and later pieces of rows follow."""
    array = _array(tmp_path / "a", (2,))
    array.write(0, np.ones((11, 2), dtype="float32"))
    array.grow((3,))
    array.write(11, np.full((2, 3), 2, dtype="float32"))
    array.write(13, np.full((9, 3), 3, dtype="float32"))
    array.settle()
    found = zarr.open_array(tmp_path / "a")[:]
    assert np.isnan(found[:11, 2]).all()
    np.testing.assert_array_equal(found[:11, :2], 1)
    np.testing.assert_array_equal(found[11:], [[2] * 3] * 2 + [[3] * 3] * 9)


def test_the_document_says_what_is_there(tmp_path: Path) -> None:
    """The document of the consolidated view has the shape as written, before the array's own metadata have it."""
    array = _array(tmp_path / "a", (2,))
    array.write(0, np.ones((5, 2), dtype="float32"))
    assert array.document()["shape"] == [5, 2]
    assert zarr.open_array(tmp_path / "a").shape == (0, 2)
    array.settle()
    assert zarr.open_array(tmp_path / "a").shape == (5, 2)
    assert array.document()["shape"] == [5, 2]
