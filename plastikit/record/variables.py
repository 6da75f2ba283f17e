"""Variables of xarray whose values stay where they lie until they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from plastikit.record.decoding import Values
from plastikit.record.stored import Positions

_UNITS: Final = "units"
_SINCE: Final = "seconds since 1970-01-01"
_CALENDAR: Final = "proleptic_gregorian"
# As xarray's own engines have it: indexed late, never written to, and read once.
_LAYERS: Final[tuple[Callable[[Any], Any], ...]] = (
    indexing.LazilyIndexedArray,
    indexing.CopyOnWriteArray,
    indexing.MemoryCachedArray,
)


class Source(Protocol):
    """What a variable takes its values from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many positions there are along each dimension."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the values are."""
        ...

    def take(self, positions: Sequence[Positions]) -> Values:
        """The values at ``positions``, which are given for each dimension."""
        ...


def lazy_variable(source: Source, dims: Sequence[str], attributes: Mapping[str, Any]) -> xr.Variable:
    """A variable of ``source``; where its attributes say so, of times."""
    attributes, encoding = dict(attributes), {}
    if attributes.get(_UNITS) == _SINCE and source.dtype.kind == "f":
        encoding = {_UNITS: attributes.pop(_UNITS), "calendar": _CALENDAR, "dtype": source.dtype}
        source = _Times(source)
    data: Any = _Backend(source)
    for layer in _LAYERS:
        data = layer(data)
    return xr.Variable(dims, data, attributes, encoding)


class _Backend(BackendArray):
    """``source`` as xarray indexes it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape = source.shape
        self.dtype = source.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._take)

    def _take(self, key: tuple[Any, ...]) -> Any:
        positions, is_kept = [], []
        for part, size in zip(key, self.shape, strict=True):
            is_kept.append(isinstance(part, slice | np.ndarray))
            positions.append(
                np.arange(*part.indices(size)) if isinstance(part, slice) else np.atleast_1d(_forward(part, size))
            )
        taken = self.source.take(positions)
        return taken[tuple(slice(None) if kept else 0 for kept in is_kept)]


class _Times:
    """Seconds since 1970 as times."""

    def __init__(self, seconds: Source) -> None:
        self._seconds = seconds
        self.shape = seconds.shape
        self.dtype = np.dtype("datetime64[ns]")

    def take(self, positions: Sequence[Positions]) -> Values:
        seconds = self._seconds.take(positions)
        is_known = np.isfinite(seconds)
        nanoseconds = np.full(seconds.shape, np.iinfo(np.int64).min)
        nanoseconds[is_known] = (seconds[is_known] * 1e9).astype(np.int64)
        return nanoseconds.view(self.dtype)


def _forward(part: Any, size: int) -> Positions:
    """Positions counted from the front."""
    positions = np.asarray(part, dtype=np.intp)
    return np.where(positions < 0, positions + size, positions)
