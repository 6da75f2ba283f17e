"""One array of a run that grows by rows: chunks are written at once, not by way of Zarr's event loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Zstd
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype

Rows = npt.NDArray[Any]


class GrowingArray:
    """An array whose rows reach the disk in order.

    Its own metadata say how many rows there are only after ``settle``: what readers go by is ``document``.
    """

    def __init__(self, array: zarr.Array[Any], folder: Path) -> None:
        """``array`` is new, and lies in ``folder``."""
        self._array = array
        self._folder = folder
        self._shape = tuple(array.shape)
        self._document: dict[str, Any] | None = None
        self._codec = _zstd(array)
        self._first, self._tail = 0, cast("Rows", np.empty((0, *array.shape[1:])))

    @property
    def inner(self) -> tuple[int, ...]:
        """Sizes of the dimensions after the leading one."""
        return self._shape[1:]

    def document(self) -> dict[str, Any]:
        """The array's metadata as they belong into the root's consolidated view."""
        if self._document is None:
            buffers = self._array.metadata.to_buffer_dict(default_buffer_prototype())
            self._document = json.loads(buffers["zarr.json"].to_bytes())
        return self._document | {"shape": list(self._shape)}

    def grow(self, inner: tuple[int, ...]) -> None:
        """Make room along the dimensions after the leading one; nothing where they are as they were."""
        if inner != self._shape[1:]:
            self._shape = (self._shape[0], *inner)
            self.settle()

    def write(self, start: int, rows: Rows) -> None:
        """Put ``rows`` at ``start``, where they replace what lies there and follow what lies before."""
        self._shape = (start + len(rows), *self._shape[1:])
        length, *inner = self._array.chunks
        first = start // length * length
        if self._codec is None or tuple(inner) != self._shape[1:]:
            self.settle()
            self._array[start:] = rows
            return
        if first != self._first or start - first > len(self._tail):
            # The last row of the chunk before is written again.
            self.settle()
            self._tail = np.asarray(self._array[first:start])
        block = np.concatenate([self._tail[: start - first], rows]) if start > first else rows
        for offset in range(0, len(block), length):
            self._put((first + offset) // length, block[offset : offset + length])
        kept = len(block) // length * length
        self._first, self._tail = first + kept, block[kept:].copy()

    def settle(self) -> None:
        """Bring the array's own metadata up to date."""
        if self._array.shape != self._shape:
            self._array.resize(self._shape)
            self._document = None

    def _put(self, number: int, rows: Rows) -> None:
        """Replace a chunk in one step."""
        missing = self._array.chunks[0] - len(rows)
        if missing:
            rows = np.concatenate([rows, np.full((missing, *rows.shape[1:]), self._array.fill_value, rows.dtype)])
        assert self._codec is not None  # noqa: S101  the caller has looked
        dtype = self._array.dtype.newbyteorder("<")
        place = self._folder.joinpath("c", str(number), *("0" for _ in self.inner))
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}.partial")
        fresh.write_bytes(self._codec.encode(np.ascontiguousarray(rows, dtype=dtype)))
        fresh.replace(place)


def _zstd(array: zarr.Array[Any]) -> Zstd | None:
    """What packs the chunks of an array; None where they are not plain numbers, packed as we would."""
    codecs: tuple[Any, ...] = tuple(getattr(array.metadata, "codecs", ()))
    if array.dtype.kind not in "fi" or [type(codec) for codec in codecs] != [BytesCodec, ZstdCodec]:
        return None
    return Zstd(level=codecs[1].level, checksum=codecs[1].checksum)
