"""Chunks that are staged without Zarr are those that Zarr reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from plastikit.record.encoding import ArrayKind
from plastikit.record.growing import GrowingArray
from plastikit.record.place import Folder

CHUNK = 8


def _array(inner: tuple[int, ...], dtype: str = "float32") -> GrowingArray:
    kind = ArrayKind(
        dims=("step", "layer", "tau")[: 1 + len(inner)],
        chunks=(CHUNK, *inner),
        dtype=dtype,
        missing=np.nan if dtype.startswith("float") else "" if dtype == "str" else -1,
        attributes={"units": "1"},
    )
    return GrowingArray("a", kind)


def _write(folder: Path, array: GrowingArray, start: int, rows: npt.NDArray[np.generic]) -> None:
    Folder(folder).write(array.stage(start, rows))
    array.accept()
    Folder(folder).write({"a/zarr.json": json.dumps(array.document).encode()})


def _read(folder: Path) -> npt.NDArray[np.generic]:
    return np.asarray(zarr.open_array(folder / "a", mode="r")[:])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("inner", [(), (3,), (2, 5)])
def test_rows_in_pieces_of_any_length(inner: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    """Rows that were written in pieces, over many chunks, are read by Zarr as they were."""
    rows = np.random.default_rng(0).integers(0, 100, (50, *inner)).astype(dtype)
    array = _array(inner, dtype)
    start = 0
    for length in (3, 5, 8, 1, 16, 2, 15):
        _write(tmp_path, array, start, rows[start : start + length])
        start += length
    assert array.rows == start == 50
    np.testing.assert_array_equal(_read(tmp_path), rows)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("last", [5, 8, 9])
def test_the_last_row_may_be_written_again(last: int, tmp_path: Path) -> None:
    """Also where it is the last of its chunk, so that the next piece begins in the chunk before."""
    array = _array(())
    _write(tmp_path, array, 0, np.arange(last, dtype="float32"))
    np.testing.assert_array_equal(array.last_row(), last - 1)
    _write(tmp_path, array, last - 1, np.array([-1, -2, -3], dtype="float32"))
    np.testing.assert_array_equal(_read(tmp_path), [*range(last - 1), -1, -2, -3])


@pytest.mark.parametrize("before", [5, 8, 11, 24])
def test_growing_along_another_dimension(before: int, tmp_path: Path) -> None:
    """Earlier rows are missing where there was no room yet, later rows follow, and every chunk is there as a file."""
    array = _array((2,))
    _write(tmp_path, array, 0, np.ones((before, 2), dtype="float32"))
    _write(tmp_path, array, before, np.full((2, 3), 2, dtype="float32"))
    _write(tmp_path, array, before + 2, np.full((9, 5), 3, dtype="float32"))
    found = _read(tmp_path)
    assert np.isnan(found[:before, 2:]).all()
    assert np.isnan(found[: before + 2, 3:]).all()
    np.testing.assert_array_equal(found[:before, :2], 1)
    np.testing.assert_array_equal(found[before : before + 2, :3], 2)
    np.testing.assert_array_equal(found[before + 2 :], 3)
    chunks = {
        file.relative_to(tmp_path / "a" / "c").as_posix()
        for file in (tmp_path / "a" / "c").rglob("*")
        if file.is_file()
    }
    assert chunks == {f"{row}/{cell}" for row in range(-(-(before + 11) // CHUNK)) for cell in range(3)}


def test_an_array_that_appears_late(tmp_path: Path) -> None:
    """Where its first row is not the first of the group, what came before is missing, over whole chunks too."""
    array = _array((2,))
    _write(tmp_path, array, 19, np.ones((1, 2), dtype="float32"))
    found = _read(tmp_path)
    assert found.shape == (20, 2)
    assert np.isnan(found[:19]).all()
    np.testing.assert_array_equal(found[19], 1)
    assert len(list((tmp_path / "a" / "c").glob("*/0"))) == 3


def test_texts(tmp_path: Path) -> None:
    """Texts have any length, and an absent one is empty."""
    array = _array((), "str")
    _write(tmp_path, array, 1, np.array(["a", "ü" * 100], dtype=object))
    _write(tmp_path, array, 3, np.array(["c"], dtype=object))
    assert _read(tmp_path).tolist() == ["", "a", "ü" * 100, "c"]


def test_what_could_not_be_written_is_staged_again(tmp_path: Path) -> None:
    """Discarded, all is as before: the same rows and more of them can be staged in its place."""
    array = _array((2,))
    _write(tmp_path, array, 0, np.zeros((3, 2), dtype="float32"))
    before = array.document
    array.stage(3, np.ones((7, 3), dtype="float32"))
    assert array.document != before
    array.discard()
    assert array.document == before
    assert array.rows == 3
    _write(tmp_path, array, 3, np.ones((9, 2), dtype="float32"))
    np.testing.assert_array_equal(_read(tmp_path), [[0, 0]] * 3 + [[1, 1]] * 9)


def test_a_chunk_carries_its_checksum(tmp_path: Path) -> None:
    """A flipped bit anywhere in a chunk is an error for Zarr too, not another number."""
    array = _array(())
    _write(tmp_path, array, 0, np.arange(5, dtype="float32"))
    chunk = tmp_path / "a" / "c" / "0"
    sound = chunk.read_bytes()
    for place in range(len(sound)):
        chunk.write_bytes(sound[:place] + bytes([sound[place] ^ 4]) + sound[place + 1 :])
        with pytest.raises(Exception, match=r".+"):
            _read(tmp_path)
    chunk.write_bytes(sound)
    assert _read(tmp_path).tolist() == [0, 1, 2, 3, 4]
