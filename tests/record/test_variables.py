"""Lazy variables answer as the values themselves would, and read no more than they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from oracles.memory import Memory
from plastikit.errors import DamagedError
from plastikit.record.decoding import Kind
from plastikit.record.encoding import ArrayKind, array_document, encode
from plastikit.record.stored import StoredArray, wholes
from plastikit.record.variables import lazy_variable

SHAPE, CHUNKS = (10, 5, 3), (4, 2, 3)
VALUES = np.arange(150, dtype=np.float32).reshape(SHAPE)
DIMS = ("step", "layer", "tau")


def _stored(values: np.ndarray[Any, Any] = VALUES, chunks: tuple[int, ...] = CHUNKS) -> StoredArray:
    """``values`` in a place of their own."""
    place = Memory({})
    missing = np.nan if values.dtype.kind == "f" else -1
    dims = DIMS[: values.ndim]
    kind = ArrayKind(dims=dims, chunks=chunks, dtype=str(values.dtype), missing=missing, attributes={})
    document = array_document(values.shape, kind)
    array = StoredArray(place, "diagnostics/srank", Kind.of(document), values.shape, has_gaps=False)
    for cell in array.cells():
        whole = np.full(chunks, missing, dtype=values.dtype)
        spans = [array.span(cell, axis) for axis in range(values.ndim)]
        part = values[tuple(slice(first, last + 1) for first, last in spans)]
        whole[tuple(slice(0, size) for size in part.shape)] = part
        place.files[array.chunk_key(cell)] = encode(whole)
    return array


@pytest.mark.parametrize(
    "key",
    [
        (),
        (3,),
        (-1, 2),
        (slice(None), 4, -1),
        (slice(2, 9, 3), slice(None, None, -1)),
        (slice(None, None, -4), slice(4, 0, -2), slice(1, 1)),
        ([7, 1, 1, 9], [0, 4], [2]),
        ([], slice(None), 1),
        (np.array([True, False] * 5), slice(1, 3)),
        (slice(5, 5),),
        ([-1, -10], -5),
    ],
)
def test_every_way_to_index(key: tuple[Any, ...]) -> None:
    """Numbers, slices either way, lists, masks and nothing at all, each dimension on its own."""
    variable = lazy_variable(_stored(), DIMS, {})
    indexers = dict(zip(DIMS, key, strict=False))
    xr.testing.assert_identical(variable.isel(indexers), xr.Variable(DIMS, VALUES).isel(indexers))


def test_indexing_again() -> None:
    """A part of a part, and points that pair positions of two dimensions."""
    variable, plain = lazy_variable(_stored(), DIMS, {}), xr.Variable(DIMS, VALUES)
    for ways in ([{"step": slice(1, 9, 2)}, {"step": [3, 0]}], [{"layer": 2}, {"step": slice(None, None, -3)}]):
        ours, theirs = variable, plain
        for way in ways:
            ours, theirs = ours.isel(way), theirs.isel(way)
        xr.testing.assert_identical(ours, theirs)
    points = {"step": xr.Variable("point", [1, 8, 3]), "tau": xr.Variable("point", [2, 0, 1])}
    xr.testing.assert_identical(variable.isel(points), plain.isel(points))


def test_random_selections() -> None:
    """Whatever is asked for, it is what the values would give."""
    generator = np.random.default_rng(0)
    array = _stored()
    for _ in range(200):
        wanted = [generator.integers(0, size, generator.integers(0, 7)) for size in SHAPE]
        np.testing.assert_array_equal(array.take(wanted), VALUES[np.ix_(*wanted)])


def test_only_what_is_asked_for_is_read() -> None:
    """Opening reads nothing; a part reads its own chunks, together; what was read once is not read again."""
    array = _stored()
    place: Any = array.place
    variable = lazy_variable(array, DIMS, {})
    assert not place.asked
    variable.isel(step=slice(5, 7), layer=1).load()
    assert place.asked == [["diagnostics/srank/c/1/0/0"]]
    place.asked.clear()
    first = variable.values
    assert [len(keys) for keys in place.asked] == [9]
    np.testing.assert_array_equal(variable.values, first)
    assert len(place.asked) == 1


def test_damage_stays_where_it_is() -> None:
    """A chunk that is damaged hinders those who need it, and nobody else; the error names run, variable and rows."""
    array = _stored()
    place: Any = array.place
    place.files["diagnostics/srank/c/1/2/0"] = b"x"
    variable = lazy_variable(array, DIMS, {})
    np.testing.assert_array_equal(variable.isel(layer=slice(0, 4)), VALUES[:, :4])
    told = r"run\.zarr is damaged: diagnostics/srank cannot be read in rows 4 to 7, layer 4 to 4,.*check run\.zarr'"
    with pytest.raises(DamagedError, match=told):
        variable.isel(step=4).load()
    del place.files["diagnostics/srank/c/2/0/0"]
    with pytest.raises(DamagedError, match=r"rows 8 to 9, layer 0 to 1.*it is not there"):
        variable.isel(step=-1, layer=0).load()


def test_seconds_become_times() -> None:
    """Seconds since 1970 are times to the nanosecond that they can tell; a second that is missing is no time."""
    seconds = np.array([0.5, 1795376400.123456, np.nan, -3.0])
    attributes = {"units": "seconds since 1970-01-01", "long_name": "wall time"}
    variable = lazy_variable(_stored(seconds, (3,)), ("step",), attributes)
    plain = xr.Variable("step", seconds, attributes)
    wanted = xr.decode_cf(xr.Dataset({"time": plain}))["time"].variable
    xr.testing.assert_identical(variable, wanted)
    assert variable.dtype == "datetime64[ns]"
    assert np.isnat(variable.values).tolist() == [False, False, True, False]


def test_several_arrays_are_read_together() -> None:
    """All chunks of all of them are asked for at once."""
    array = _stored()
    other = StoredArray(array.place, array.key, array.kind, (4, 5, 3), has_gaps=False)
    empty = StoredArray(array.place, array.key, array.kind, (0, 5, 3), has_gaps=False)
    found = wholes([array, other, empty])
    np.testing.assert_array_equal(found[0], VALUES)
    np.testing.assert_array_equal(found[1], VALUES[:4])
    assert found[2].shape == (0, 5, 3)
    place: Any = array.place
    assert len(place.asked) == 1
    np.testing.assert_array_equal(array.whole(), VALUES)
