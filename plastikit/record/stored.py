"""One array of a run as it was committed: which of its chunks hold what, and any part of it as values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plastikit.errors import DamagedError
from plastikit.record.decoding import Kind, Values, decode
from plastikit.record.place import Place

Positions = npt.NDArray[np.intp]
Cell = tuple[int, ...]
"""Where a chunk stands in the grid of chunks."""

_BATCH: Final = 64
"""Chunks that are read together: enough to hide the way to a distant place, few enough to stay small in memory."""

_Part = tuple[int, slice | Positions, slice | Positions]
"""Which chunk along a dimension; where its values go in what was asked for; and where they lie in the chunk."""


@dataclass(frozen=True, eq=False, slots=True)
class StoredArray:
    """An array that stays on disk until a part of it is taken."""

    place: Place
    key: str
    """Where it lies in the run, such as ``diagnostics/srank``."""
    kind: Kind
    shape: tuple[int, ...]
    has_gaps: bool
    """Whether a chunk that is not there may stand for missing values."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """What its values are; ``object`` for text."""
        return self.kind.dtype

    def cells(self) -> Iterator[Cell]:
        """The grid that the committed shape spans."""
        counts = (math.ceil(size / chunk) for size, chunk in zip(self.shape, self.kind.chunks, strict=True))
        return itertools.product(*map(range, counts))

    def chunk_key(self, cell: Cell) -> str:
        """Where a chunk lies in the run."""
        return "/".join((self.key, "c", *map(str, cell)))

    def span(self, cell: Cell, axis: int = 0) -> tuple[int, int]:
        """The first and the last committed position of a chunk along a dimension."""
        chunk = self.kind.chunks[axis]
        return cell[axis] * chunk, min((cell[axis] + 1) * chunk, self.shape[axis]) - 1

    def decoded(self, data: bytes | None) -> Values:
        """A whole chunk, from what was found at its key.

        Raises:
            DamagedError: it is not what was written; the message is the reason alone.
        """
        if data is not None:
            return decode(data, self.kind)
        if not self._may_lack():
            raise DamagedError("it is not there")
        return np.full(self.kind.chunks, self.kind.missing, dtype=self.kind.dtype)

    def checked(self, cell: Cell, data: bytes | None) -> Values:
        """A whole chunk, from what was found at its key.

        Raises:
            DamagedError: it is not what was written; the message names the run, the variable and the rows.
        """
        try:
            return self.decoded(data)
        except DamagedError as error:
            raise DamagedError(self._lament(cell, str(error))) from None

    def take(self, positions: Sequence[Positions]) -> Values:
        """The values at ``positions``, which are given for each dimension.

        Raises:
            DamagedError: a chunk that is needed is not what was written.
        """
        out = np.empty([len(wanted) for wanted in positions], dtype=self.kind.dtype)
        if not out.size:
            return out
        parts = [_parts(wanted, chunk) for wanted, chunk in zip(positions, self.kind.chunks, strict=True)]
        cells = itertools.product(*parts)
        while batch := list(itertools.islice(cells, _BATCH)):
            numbers = [tuple(part[0] for part in cell) for cell in batch]
            found = self.place.read([self.chunk_key(number) for number in numbers])
            for cell, number, data in zip(batch, numbers, found, strict=True):
                values = self.checked(number, data)
                for axis, (_, _, inside) in enumerate(cell):
                    values = values[(slice(None),) * axis + (inside,)]
                put(out, [part[1] for part in cell], values)
        return out

    def whole(self) -> Values:
        """All values.

        Raises:
            DamagedError: a chunk is not what was written.
        """
        return self.take([np.arange(size) for size in self.shape])

    def where(self, cell: Cell) -> str:
        """In words, what a chunk holds: its rows, and where there are several chunks of these, which part."""
        first, last = self.span(cell)
        rows = f"rows {first} to {last}"
        for axis in range(1, len(self.shape)):
            if self.shape[axis] > self.kind.chunks[axis]:
                begin, end = self.span(cell, axis)
                rows += f", {self.kind.dims[axis]} {begin} to {end}"
        return rows

    def _may_lack(self) -> bool:
        is_grown = any(size > chunk for size, chunk in zip(self.shape[1:], self.kind.chunks[1:], strict=True))
        return self.has_gaps and (self.kind.is_text or is_grown)

    def _lament(self, cell: Cell, reason: str) -> str:
        run = self.place.location
        return (
            f"{run} is damaged: {self.key} cannot be read in {self.where(cell)}, "
            f"because its chunk {'/'.join(map(str, cell))} is not what was written: {reason}. "
            f"'plastikit check {run}' tells what survives, and with --repair makes the rest readable"
        )


def put(out: Values, where: Sequence[slice | Positions], values: Values) -> None:
    """Set ``out`` at ``where``, which is given for each dimension on its own."""
    if all(isinstance(part, slice) for part in where):
        out[tuple(where)] = values
        return
    sizes = zip(where, out.shape, strict=True)
    out[np.ix_(*(np.arange(size)[part] if isinstance(part, slice) else part for part, size in sizes))] = values


def compact(positions: Positions) -> slice | Positions:
    """The same as a slice where they follow one another: that is copied much faster."""
    first, count = int(positions[0]), len(positions)
    return slice(first, first + count) if (np.diff(positions) == 1).all() else positions


def _parts(wanted: Positions, chunk: int) -> list[_Part]:
    numbers = wanted // chunk
    first = int(numbers[0])
    if (numbers == first).all():
        return [(first, slice(0, len(wanted)), compact(wanted - first * chunk))]
    found = []
    for number in np.unique(numbers).tolist():
        places = np.flatnonzero(numbers == number)
        found.append((number, compact(places), compact(wanted[places] - number * chunk)))
    return found


def wholes(arrays: Sequence[StoredArray]) -> list[Values]:
    """All values of several arrays of one run, read together.

    Raises:
        DamagedError: a chunk is not what was written.
    """
    wanted = [(array, cell) for array in arrays for cell in array.cells()]
    if not wanted:
        return [np.empty(array.shape, dtype=array.kind.dtype) for array in arrays]
    found = wanted[0][0].place.read([array.chunk_key(cell) for array, cell in wanted])
    values = {array: np.empty(array.shape, dtype=array.kind.dtype) for array in arrays}
    for (array, cell), data in zip(wanted, found, strict=True):
        part = array.checked(cell, data)
        spans = [array.span(cell, axis) for axis in range(part.ndim)]
        inside = part[tuple(slice(0, last - first + 1) for first, last in spans)]
        values[array][tuple(slice(first, last + 1) for first, last in spans)] = inside
    return [values[array] for array in arrays]
