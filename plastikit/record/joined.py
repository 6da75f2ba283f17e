"""One variable of many runs: which run holds what stands at a joined position, read when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plastikit.record.alignment import Axis
from plastikit.record.crew import each
from plastikit.record.decoding import Values
from plastikit.record.stored import Positions, StoredArray, compact, put


@dataclass(frozen=True, eq=False)
class JoinedArray:
    """The arrays of one name, side by side along a first dimension."""

    sources: Sequence[StoredArray | None]
    """By run; None for a run without this variable."""
    axes: Sequence[Axis]
    """The dimensions after the run."""
    dtype: np.dtype[Any]
    missing: Any
    """What stands where a run has no value."""
    recodings: Sequence[Values | None] | None = None
    """By run, what each value of its own means among the joined runs; None where it means the same."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Runs, and positions along each joined dimension."""
        return (len(self.sources), *(axis.size for axis in self.axes))

    def take(self, positions: Sequence[Positions]) -> Values:
        """The values at ``positions``, which are given for each dimension.

        Raises:
            DamagedError: a chunk that is needed is not what was written.
        """
        runs, inner = positions[0], positions[1:]
        out = np.full([len(wanted) for wanted in positions], self.missing, dtype=self.dtype)

        def fill(place: int) -> None:
            self._fill(out[place], int(runs[place]), inner)

        held = [place for place, run in enumerate(runs.tolist()) if self.sources[run] is not None]
        each(fill, held, (source.place for source in self.sources if source is not None))
        return out

    def _fill(self, out: Values, run: int, inner: Sequence[Positions]) -> None:
        source = self.sources[run]
        if source is None or not out.size:
            return
        own: list[Positions] = []
        where: list[slice | Positions] = []
        for wanted, axis in zip(inner, self.axes, strict=True):
            lookup = axis.lookups[run]
            found = wanted if lookup is None else lookup[wanted]
            known = np.flatnonzero(found >= 0)
            if not len(known):
                return
            own.append(found[known])
            where.append(compact(known))
        values = source.take(own)
        recoding = None if self.recodings is None else self.recodings[run]
        if recoding is not None:
            values = np.where(values >= 0, recoding[values], self.missing)
        put(out, where, values)
