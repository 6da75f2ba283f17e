"""One growing group of a run: rows in memory, columns on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr

from plastikit.errors import ConfigurationError
from plastikit.record.growing import GrowingArray
from plastikit.schema import DIMENSIONS, Scalar

Values = npt.NDArray[Any]

_CHUNK_ROWS: Final = 1024
_CHUNK_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the numbers of packed rows belong; one object serves all rows that are alike."""

    places: Mapping[str, tuple[Values, Values]]
    """Variable -> which numbers of the vector, [number]; and their indices, [dimension, number]."""


Packed = tuple[Layout, Values]
"""A layout, and the vector of one row."""


class Row:
    """A row that waits to be written."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.values: dict[str, Values] = {}
        self.packed: list[Packed] = []


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a variable of a group is: its dimensions after the leading one, its type and its attributes."""

    dims: tuple[str, ...] = ()
    dtype: str = "float32"
    attrs: Mapping[str, Scalar] | None = None
    coordinate: bool = False

    @property
    def missing(self) -> Any:
        """What stands where nothing was measured."""
        if self.dtype == "str":
            return ""
        return np.nan if np.dtype(self.dtype).kind == "f" else -1


_Block = tuple[Layout, Values, Values]
"""A layout, the rows that are packed by it, and their numbers, [row, number]."""


class Table:
    """Rows along one leading dimension; an axis or a column that appears later is NaN before it appeared."""

    def __init__(self, group: zarr.Group, leading: str, folder: Path) -> None:
        """``group`` is new, and lies in ``folder``."""
        self.leading = leading
        self.pending: list[Row] = []
        self._group = group
        self._folder = folder
        self._rows_on_disk = 0
        self._columns: dict[str, Column] = {}
        self._axes: dict[str, dict[str, Values]] = {}
        self._grown: set[str] = set()
        self._arrays: dict[str, GrowingArray] = {}

    @property
    def rows(self) -> int:
        """Rows handed over so far, whether they lie on disk or in memory."""
        return self._rows_on_disk + len(self.pending)

    @property
    def last_index(self) -> int | None:
        """The leading coordinate of the last row; None for an empty table."""
        return self._last.index if self.rows else None

    def declare(self, name: str, column: Column) -> None:
        """Make ``name`` known; a second declaration of the same column changes nothing.

        Raises:
            ConfigurationError: the name cannot stand on disk, is taken, or has other dimensions than before.
        """
        known = self._columns.get(name)
        if known is None:
            self._check_name(name)
            self._columns[name] = column
        elif known.dims != column.dims or known.coordinate != column.coordinate:
            raise ConfigurationError(
                f"{name!r} was {_shape(known)} before and is {_shape(column)} now; give the two different names"
            )

    def extend_axis(self, dim: str, coordinates: Mapping[str, Values]) -> None:
        """Add entries at the end of ``dim``: the same number in each of its coordinates."""
        axis = self._axes.get(dim)
        self._axes[dim] = (
            {name: np.asarray(values) for name, values in coordinates.items()}
            if axis is None
            else {name: np.concatenate([axis[name], coordinates[name]]) for name in axis}
        )
        self._grown.add(dim)

    def axis(self, dim: str) -> Mapping[str, Values]:
        """The coordinates of ``dim`` by name; empty where the axis is not known yet."""
        return self._axes.get(dim, {})

    def size(self, dim: str) -> int:
        """Entries along ``dim`` so far."""
        return next((len(values) for values in self.axis(dim).values()), 0)

    def append(self, index: int, values: Mapping[str, Values], packed: Packed | None = None) -> None:
        """Add a row at ``index``, or add to the last row where that has the same index.

        Raises:
            ConfigurationError: ``index`` is smaller than the last.
        """
        for name, value in values.items():
            self._check_shape(name, value)
        last = self.last_index
        if last is not None and index < last:
            raise ConfigurationError(
                f"a record at {self.leading} {index} follows one at {last}; "
                f"give each record a {self.leading} no smaller than the one before"
            )
        if index != last:
            self._last = Row(index)
            self.pending.append(self._last)
        elif not self.pending:
            self.pending.append(self._last)
            self._rows_on_disk -= 1
        self._last.values.update(values)
        if packed is not None:
            self._last.packed.append(packed)

    def write(self) -> None:
        """Bring rows and axes onto the disk; readers see them once the store commits."""
        for dim in sorted(self._grown):
            for name, values in self._axes[dim].items():
                self._write_coordinate(name, dim, values)
        if self.pending:
            blocks = _blocks(self.pending)
            for name in (self.leading, *self._columns):
                column = self._columns.get(name, Column(dtype="int64"))
                array = self._grown_array(name, column)
                array.write(self._rows_on_disk, self._stack(name, column, array.inner, blocks))
            # In one line: an interrupt between the two would lose rows, or write them twice.
            self._rows_on_disk, self.pending = self.rows, []
        self._grown.clear()
        coordinates = [name for dim, axis in self._axes.items() for name in axis if name != dim]
        coordinates += [name for name, column in self._columns.items() if column.coordinate]
        if self._group.attrs.get("coordinates", "") != " ".join(coordinates):
            # How xarray tells a coordinate from a variable.
            self._group.attrs["coordinates"] = " ".join(coordinates)

    def documents(self) -> dict[str, Any]:
        """The metadata of the group and each of its arrays, as they belong into the root's consolidated view."""
        name = self._group.basename
        return {
            name: {"attributes": dict(self._group.attrs), "zarr_format": 3, "node_type": "group"},
            **{f"{name}/{key}": array.document() for key, array in self._arrays.items()},
        }

    def settle(self) -> None:
        """Bring each array's own metadata up to date."""
        for array in self._arrays.values():
            array.settle()

    def _check_name(self, name: str) -> None:
        if not name or name.split() != [name] or "/" in name or name.startswith((".", "__")) or name == "zarr.json":
            raise ConfigurationError(
                f"{name!r} cannot name a variable of a run; use letters, digits and underscores, such as critic_loss"
            )
        if name == self.leading or name in DIMENSIONS or any(name in axis for axis in self._axes.values()):
            raise ConfigurationError(f"{name!r} is the name of a dimension or of its coordinate; choose another name")

    def _check_shape(self, name: str, value: Values) -> None:
        sizes = tuple(self.size(dim) for dim in self._columns[name].dims)
        if value.ndim != len(sizes) or any(given > size for given, size in zip(value.shape, sizes, strict=True)):
            raise ValueError(f"{name} has shape {value.shape}, where its dimensions have the sizes {sizes}")

    def _stack(self, name: str, column: Column, shape: tuple[int, ...], blocks: Sequence[_Block]) -> Values:
        if name == self.leading:
            return np.array([row.index for row in self.pending])
        dtype = object if column.dtype == "str" else column.dtype
        stacked = np.full((len(self.pending), *shape), column.missing, dtype=dtype)
        flat = stacked.reshape(len(self.pending), -1)
        for layout, rows, numbers in blocks:
            if name in layout.places:
                source, places = layout.places[name]
                along, target = _span(rows), _span(np.ravel_multi_index(tuple(places), shape))
                if not isinstance(along, slice) and not isinstance(target, slice):
                    along = along[:, None]
                flat[along, target] = numbers[:, _span(source)]
        for position, row in enumerate(self.pending):
            value = row.values.get(name)
            if value is not None:
                place: tuple[int | slice, ...] = (position, *(slice(0, size) for size in value.shape))
                stacked[place] = value
        return stacked

    def _grown_array(self, name: str, column: Column) -> GrowingArray:
        inner = tuple(self.size(dim) for dim in column.dims)
        if name not in self._arrays:
            array = self._create(name, (self.leading, *column.dims), (0, *inner), column)
            self._arrays[name] = GrowingArray(array, self._folder / name)
        self._arrays[name].grow(inner)
        return self._arrays[name]

    def _write_coordinate(self, name: str, dim: str, values: Values) -> None:
        column = Column(dtype="str" if values.dtype.kind in "UOT" else str(values.dtype))
        if name not in self._arrays:
            array = self._create(name, (dim,), values.shape, column)
            self._arrays[name] = GrowingArray(array, self._folder / name)
        self._arrays[name].write(0, values.astype(object) if column.dtype == "str" else values)

    def _create(self, name: str, dims: tuple[str, ...], shape: tuple[int, ...], column: Column) -> zarr.Array[Any]:
        row_bytes = max(1, int(np.prod(shape[1:])) * 8)
        rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes)) if dims[0] == self.leading else max(1, shape[0])
        return self._group.create_array(
            name,
            shape=shape,
            chunks=(rows, *(max(1, size) for size in shape[1:])),
            dtype=cast("Any", str if column.dtype == "str" else column.dtype),
            fill_value=column.missing,
            dimension_names=dims,
            attributes=dict(column.attrs or {}),
            # All that lies here is ours; an interrupt may have left the array behind without our knowing.
            overwrite=True,
        )


def _blocks(pending: Sequence[Row]) -> list[_Block]:
    """The packed parts of rows, those of one layout together; in a row that has several, the later ones come later."""
    found: dict[tuple[int, Layout], tuple[list[int], list[Values]]] = {}
    for position, row in enumerate(pending):
        for turn, (layout, numbers) in enumerate(row.packed):
            rows, vectors = found.setdefault((turn, layout), ([], []))
            rows.append(position)
            vectors.append(numbers)
    return [
        (layout, np.array(rows), np.stack(vectors))
        for (_, layout), (rows, vectors) in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _span(indices: Values) -> slice | Values:
    """The same as a slice where there is no gap: that is copied much faster."""
    first, count = int(indices[0]), len(indices)
    return slice(first, first + count) if (np.diff(indices) == 1).all() else indices


def _shape(column: Column) -> str:
    dims = f"one number for each {' and '.join(column.dims)}" if column.dims else "one number"
    return f"{dims}, a coordinate" if column.coordinate else dims
