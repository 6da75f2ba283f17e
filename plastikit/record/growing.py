"""One array of a run that grows by rows: the chunks that have to be written so that it holds more of them."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from plastikit.record.encoding import TEXT, ArrayKind, Document, Values, array_document, encode


class _Extent(NamedTuple):
    """How far an array reaches, and what lies in the chunks of its last row."""

    shape: tuple[int, ...]
    first: int
    """The first row of those chunks."""
    tail: Values
    """Their rows, over all inner dimensions."""


class GrowingArray:
    """An array whose rows reach the disk in order.

    What ``stage`` gives is to be written; ``accept`` says that it has been, and until then all stays as it was.
    """

    def __init__(self, key: str, kind: ArrayKind) -> None:
        """An array of no rows, which lies at ``key`` below its run."""
        self._key = key
        self._kind = kind
        empty = np.empty((0,) * len(kind.dims), dtype=object if kind.dtype == TEXT else kind.dtype)
        self._now = self._staged = _Extent(empty.shape, 0, empty)
        self._told: tuple[int, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows on disk."""
        return self._now.shape[0]

    @property
    def document(self) -> Document:
        """The array's metadata with all that is staged."""
        return array_document(self._staged.shape, self._kind)

    def last_row(self) -> Values:
        """The values of the last row on disk."""
        return np.asarray(self._now.tail[-1])

    def stage(self, start: int, rows: Values) -> dict[str, bytes]:
        """The chunks that put ``rows`` at ``start``: where the last row lies, or the one after it.

        Along the inner dimensions the array is as large as ``rows``; what was not there before is missing.
        """
        inner = rows.shape[1:]
        length = self._kind.chunks[0]
        if not self.rows:
            # A column that appears late is missing in all rows before it.
            before, first = self._missed((start % length, *inner)), start - start % length
        else:
            before, first = self._room(self._now.tail[: start - self._now.first], inner), self._now.first
        block = np.concatenate([before, rows.astype(before.dtype, copy=False)])
        count = start + len(rows)
        last = (count - 1) // length * length
        self._staged = _Extent((count, *inner), last, block[last - first :].copy())
        items = self._filled(first // length, inner)
        for offset in range(0, len(block), length):
            items |= self._encoded((first + offset) // length, block[offset : offset + length])
        return items

    def accept(self) -> None:
        """What was staged lies on disk."""
        self._now = self._staged

    def discard(self) -> None:
        """What was staged could not be written."""
        self._staged, self._told = self._now, None

    def restore(self, shape: tuple[int, ...], first: int, tail: Values) -> None:
        """Go on with an array that lies on disk: ``tail`` holds its rows from ``first`` on, where a chunk begins."""
        self._now = self._staged = _Extent(shape, first, tail)

    def own_document(self) -> Document | None:
        """The array's metadata where those beside its chunks are not up to date; from then on they are taken to be."""
        if self._told == self._staged.shape:
            return None
        self._told = self._staged.shape
        return self.document

    def _filled(self, before: int, inner: tuple[int, ...]) -> dict[str, bytes]:
        """Chunks of missing values at all places before the row chunk ``before`` that lay outside the array."""
        known = set(self._cells(self._now.shape[1:])) if self.rows else set()
        fresh = [cell for cell in self._cells(inner) if cell not in known]
        if not before or not fresh:
            return {}
        data = encode(self._missed(self._kind.chunks))
        return {self._chunk(row, cell): data for row in range(before) for cell in fresh}

    def _encoded(self, number: int, rows: Values) -> dict[str, bytes]:
        items = {}
        for cell in self._cells(rows.shape[1:]):
            part = rows[(slice(None), *(slice(k * size, (k + 1) * size) for k, size in self._along(cell)))]
            if part.shape != self._kind.chunks:
                whole = self._missed(self._kind.chunks)
                whole[tuple(slice(0, size) for size in part.shape)] = part
                part = whole
            items[self._chunk(number, cell)] = encode(part)
        return items

    def _cells(self, inner: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The places of chunks along the inner dimensions."""
        counts = [math.ceil(size / chunk) for size, chunk in zip(inner, self._kind.chunks[1:], strict=True)]
        return list(itertools.product(*map(range, counts)))

    def _along(self, cell: tuple[int, ...]) -> zip[tuple[int, int]]:
        return zip(cell, self._kind.chunks[1:], strict=True)

    def _chunk(self, number: int, cell: tuple[int, ...]) -> str:
        return "/".join(map(str, (self._key, "c", number, *cell)))

    def _room(self, rows: Values, inner: tuple[int, ...]) -> Values:
        if rows.shape[1:] == inner:
            return rows
        wider = self._missed((len(rows), *inner))
        wider[tuple(slice(0, size) for size in rows.shape)] = rows
        return wider

    def _missed(self, shape: tuple[int, ...]) -> Values:
        return np.full(shape, self._kind.missing, dtype=self._now.tail.dtype)
