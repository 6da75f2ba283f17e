"""The writer's side of a group: rows taken from a table become columns, and columns the chunks to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

import numpy as np

from plastikit.record.encoding import TEXT, ArrayKind, Document, Values, group_document
from plastikit.record.growing import GrowingArray
from plastikit.record.table import Column, Layout, Row, Table

_CHUNK_ROWS: Final = 1024
_CHUNK_BYTES: Final = 4 * 2**20
_ROW_OVERHEAD_BYTES: Final = 512

_Block = tuple[Layout, Values, Values]
"""A layout, the rows that are packed by it, and their numbers, [row, number]."""


class Dropped(TypedDict):
    """Rows that were lost: how many, of which group, from which index to which, and why."""

    group: str
    rows: int
    first: int
    last: int
    reason: str


class Columns:
    """All arrays of a group, and the rows that they do not hold yet.

    What ``stage`` gives is to be written; ``accept`` says that it has been, and until then all stays as it was.
    """

    def __init__(self, name: str, table: Table) -> None:
        """Nothing lies on disk."""
        self.name = name
        self._table = table
        self._pending: list[Row] = []
        self._start = 0
        """Where the first pending row belongs: after all rows on disk, or at the last of them."""
        self._last: Row | None = None
        self._arrays: dict[str, GrowingArray] = {}
        self._attributes: dict[str, Any] = {}

    @property
    def waiting_bytes(self) -> int:
        """What the rows take that were taken and are not written."""
        return sum(row.nbytes + _ROW_OVERHEAD_BYTES for row in self._pending)

    @property
    def waiting(self) -> int:
        """Rows that were taken and are not written."""
        return len(self._pending)

    @property
    def rows(self) -> int:
        """Rows that are written."""
        leading = self._arrays.get(self._table.leading)
        return 0 if leading is None else leading.rows

    def restore(self, arrays: dict[str, GrowingArray], rows: int, last: Row) -> None:
        """Go on with arrays that lie on disk; ``last`` is their last row."""
        self._arrays, self._start, self._last = arrays, rows, last
        # Also where no row is added to it any more.
        self._tell_coordinates()

    def take(self) -> int:
        """Take the rows that wait in the table; how many bytes they hold."""
        taken = 0
        while self._table.waiting:
            row = self._table.waiting.popleft()
            taken += row.nbytes
            if self._last is None or row.index != self._last.index:
                self._last = row
                self._pending.append(row)
                continue
            self._last.add(row)
            if not self._pending:
                self._pending.append(self._last)
                self._start -= 1
        return taken

    def drop(self, size: int, reason: str) -> Dropped | None:
        """Give up the oldest pending rows until those left take at most ``size`` bytes; what was given up."""
        excess, count = self.waiting_bytes - size, 0
        while excess > 0:
            excess -= self._pending[count].nbytes + _ROW_OVERHEAD_BYTES
            count += 1
        given_up, self._pending = self._pending[:count], self._pending[count:]
        if given_up and self._start < self.rows:
            # It lies on disk as it was before more was added to it.
            self._start += 1
        if not given_up:
            return None
        if not self._pending:
            self._last = None
        return Dropped(
            group=self.name, rows=len(given_up), first=given_up[0].index, last=given_up[-1].index, reason=reason
        )

    def stage(self) -> dict[str, bytes]:
        """The chunks that bring the pending rows onto the disk; none where there are none."""
        if not self._pending:
            return {}
        leading = self._table.leading
        columns = {leading: Column(dtype="int64"), **self._table.columns}
        axes = dict(self._table.axes)
        sizes = {dim: next(len(values) for values in axis.values()) for dim, axis in axes.items()}
        items: dict[str, bytes] = {}
        for dim, axis in axes.items():
            for name, values in axis.items():
                items |= self._stage_coordinate(name, dim, values)
        blocks = _blocks(self._pending)
        for name, column in columns.items():
            inner = tuple(sizes.get(dim, 0) for dim in column.dims)
            array = self._array(name, (leading, *column.dims), inner, column)
            items |= array.stage(self._start, self._stack(name, column, inner, blocks))
        self._tell_coordinates()
        return items

    def _tell_coordinates(self) -> None:
        """How xarray tells a coordinate from a variable."""
        coordinates = [name for dim, axis in self._table.axes.items() for name in axis if name != dim]
        coordinates += [name for name, column in self._table.columns.items() if column.coordinate]
        self._attributes = {"coordinates": " ".join(coordinates)}

    def accept(self) -> None:
        """What was staged lies on disk."""
        for array in self._arrays.values():
            array.accept()
        self._start += len(self._pending)
        self._pending = []

    def discard(self) -> None:
        """What was staged could not be written; it is staged again next time, with what comes until then."""
        for array in self._arrays.values():
            array.discard()
        self._arrays = {name: array for name, array in self._arrays.items() if array.rows}

    def documents(self) -> dict[str, Document]:
        """The metadata of the group and of each of its arrays, with all that is staged."""
        return {
            self.name: group_document(self._attributes),
            **{f"{self.name}/{name}": array.document for name, array in self._arrays.items()},
        }

    def own_documents(self, *, fresh_alone: bool) -> dict[str, Document]:
        """Those metadata that beside the chunks are not there, or not up to date."""
        own = {
            f"{self.name}/{name}": array.own_document()
            for name, array in self._arrays.items()
            if not (fresh_alone and array.rows)
        }
        return {key: document for key, document in own.items() if document is not None}

    def _stage_coordinate(self, name: str, dim: str, values: Values) -> dict[str, bytes]:
        column = Column(dtype=TEXT if values.dtype.kind in "UOT" else str(values.dtype))
        array = self._array(name, (dim,), (), column, rows=len(values))
        return array.stage(array.rows, values[array.rows :]) if len(values) > array.rows else {}

    def _array(
        self, name: str, dims: tuple[str, ...], inner: tuple[int, ...], column: Column, rows: int | None = None
    ) -> GrowingArray:
        if name not in self._arrays:
            row_bytes = max(1, int(np.prod(inner)) * 8)
            length = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes)) if rows is None else rows
            kind = ArrayKind(
                dims=dims,
                chunks=tuple(max(1, size) for size in (length, *inner)),
                dtype=column.dtype,
                missing=column.missing,
                attributes=dict(column.attrs or {}),
            )
            self._arrays[name] = GrowingArray(f"{self.name}/{name}", kind)
        return self._arrays[name]

    def _stack(self, name: str, column: Column, shape: tuple[int, ...], blocks: Sequence[_Block]) -> Values:
        if name == self._table.leading:
            return np.array([row.index for row in self._pending])
        stacked = np.full(
            (len(self._pending), *shape), column.missing, dtype=object if column.dtype == TEXT else column.dtype
        )
        flat = stacked.reshape(len(self._pending), -1)
        for position, row in enumerate(self._pending):
            _put(stacked, position, row.before.get(name))
        for layout, rows, numbers in blocks:
            if name in layout.places:
                source, places = layout.places[name]
                along, target = _span(rows), _span(np.ravel_multi_index(tuple(places), shape))
                if not isinstance(along, slice) and not isinstance(target, slice):
                    along = along[:, None]
                flat[along, target] = numbers[:, _span(source)]
        for position, row in enumerate(self._pending):
            _put(stacked, position, row.values.get(name))
        return stacked


def _put(stacked: Values, position: int, value: Values | None) -> None:
    if value is not None:
        place: tuple[int | slice, ...] = (position, *(slice(0, size) for size in value.shape))
        stacked[place] = value if value.ndim else value.item()


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
