"""One growing group of a run, as it is handed over: what there is to record in it, and rows that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plastikit.errors import ConfigurationError
from plastikit.record.encoding import TEXT
from plastikit.schema import DIMENSIONS, Scalar

Values = npt.NDArray[Any]

_LONGEST_NAME: Final = 200
"""A file system takes a little more."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the numbers of packed rows belong; one object serves all rows that are alike."""

    places: Mapping[str, tuple[Values, Values]]
    """Variable -> which numbers of the vector, [number]; and their indices, [dimension, number]."""


Packed = tuple[Layout, Values]
"""A layout, and the vector of one row."""


class Row:
    """A row that waits to be written."""

    def __init__(self, index: int, values: Mapping[str, Values], packed: Packed | None = None) -> None:
        self.index = index
        self.before: Mapping[str, Values] = {}
        """What lies on disk already, of a run that is gone on with: all else counts before it."""
        self.values = dict(values)
        self.packed = [] if packed is None else [packed]
        self.nbytes = sum(value.nbytes for value in values.values()) + (0 if packed is None else packed[1].nbytes)

    def add(self, later: Row) -> None:
        """Take over what ``later`` holds; where both have a value, the later one counts."""
        self.values.update(later.values)
        self.packed += later.packed
        self.nbytes += later.nbytes


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a variable of a group is: its dimensions after the leading one, its type and its attributes."""

    dims: tuple[str, ...] = ()
    dtype: str = "float32"
    attrs: Mapping[str, Scalar] | None = None
    coordinate: bool = False

    @property
    def missing(self) -> float | str:
        """What stands where nothing was measured."""
        if self.dtype == TEXT:
            return ""
        return np.nan if np.dtype(self.dtype).kind == "f" else -1


class Table:
    """Rows along one leading dimension; an axis or a column that appears later is missing before it appeared.

    Filled by the thread that trains and emptied by the one that writes, without locks: all that the two share is
    replaced as a whole, or is a queue. The writer looks at columns and axes after it took rows, so that it finds all
    that these need.
    """

    def __init__(self, leading: str) -> None:
        """A table without rows."""
        self.leading = leading
        self.waiting: deque[Row] = deque()
        """Rows that the writer has not taken."""
        self.columns: dict[str, Column] = {}
        self.axes: dict[str, dict[str, Values]] = {}
        self.rows = 0
        """Rows handed over so far, whether they lie on disk or not."""
        self.last_index: int | None = None
        """The leading coordinate of the last row; None for an empty table."""

    def check_name(self, name: str) -> None:
        """Whether a column could be called so.

        Raises:
            ConfigurationError: the name cannot stand on disk, or is taken by a dimension.
        """
        if name not in self.columns:
            self._check_name(name)

    def declare(self, name: str, column: Column) -> None:
        """Make ``name`` known; a second declaration of the same column changes nothing.

        Raises:
            ConfigurationError: the name cannot stand on disk, is taken, or has other dimensions than before.
        """
        known = self.columns.get(name)
        if known is None:
            self._check_name(name)
            self.columns[name] = column
        elif known.dims != column.dims or known.coordinate != column.coordinate:
            raise ConfigurationError(
                f"{name!r} was {_shape(known)} before and is {_shape(column)} now; give the two different names"
            )

    def extend_axis(self, dim: str, coordinates: Mapping[str, Values]) -> None:
        """Add entries at the end of ``dim``: the same number in each of its coordinates."""
        axis = self.axes.get(dim)
        self.axes[dim] = (
            {name: np.asarray(values) for name, values in coordinates.items()}
            if axis is None
            else {name: np.concatenate([axis[name], coordinates[name]]) for name in axis}
        )

    def axis(self, dim: str) -> Mapping[str, Values]:
        """The coordinates of ``dim`` by name; empty where the axis is not known yet."""
        return self.axes.get(dim, {})

    def size(self, dim: str) -> int:
        """Entries along ``dim`` so far."""
        return next((len(values) for values in self.axis(dim).values()), 0)

    def append(self, row: Row) -> None:
        """Add a row, or add to the last row where that has the same index.

        Raises:
            ConfigurationError: its index is smaller than the last.
        """
        for name, value in row.values.items():
            self._check_shape(name, value)
        last = self.last_index
        if last is not None and row.index < last:
            raise ConfigurationError(
                f"a record at {self.leading} {row.index} follows one at {last}; "
                f"give each record a {self.leading} no smaller than the one before"
            )
        self.rows += row.index != last
        self.last_index = row.index
        self.waiting.append(row)

    def _check_name(self, name: str) -> None:
        if not name.isprintable() or name.split() != [name] or "/" in name or name.startswith((".", "__", "zarr.json")):
            raise ConfigurationError(
                f"{name!r} cannot name a variable of a run; use letters, digits and underscores, such as critic_loss"
            )
        if len(name) > _LONGEST_NAME:
            raise ConfigurationError(
                f"{name[:40]!r}... cannot name a variable of a run: it is {len(name)} characters long"
            )
        if name == self.leading or name in DIMENSIONS or any(name in axis for axis in self.axes.values()):
            raise ConfigurationError(f"{name!r} is the name of a dimension or of its coordinate; choose another name")

    def _check_shape(self, name: str, value: Values) -> None:
        sizes = tuple(self.size(dim) for dim in self.columns[name].dims)
        if value.ndim != len(sizes) or any(given > size for given, size in zip(value.shape, sizes, strict=True)):
            raise ValueError(f"{name} has shape {value.shape}, where its dimensions have the sizes {sizes}")


def _shape(column: Column) -> str:
    dims = f"one number for each {' and '.join(column.dims)}" if column.dims else "one number"
    return f"{dims}, a coordinate" if column.coordinate else dims
