"""What episodes ended with: the few observations that no transition begins with."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from plastikit.train.rows import handed

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_FEWEST: Final = 64


class LastObservations:
    """The last observations of the episodes that ended within a replay, in a ring that grows where they become many.

    Rows are written in the order in which they are written anew, so that the oldest make room first.

    Args:
        rows: Rows of the replay.
        observation_size: Numbers in an observation.
        device: Where the observations are kept; which rows have one is known on the CPU.
    """

    def __init__(self, rows: int, observation_size: int, device: torch.device) -> None:
        self.is_ended: Bool[BoolArray, "row"] = np.zeros(rows, dtype=np.bool_)
        """The rows whose episode ended there."""
        self._slots = np.zeros(rows, dtype=np.int32)
        self._ring = torch.empty((_FEWEST, observation_size), device=device)
        self._oldest = self._count = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.is_ended.nbytes + self._slots.nbytes + self._ring.nbytes

    def of(self, rows: Int[IntArray, "end"]) -> Float[Tensor, "end feature"]:
        """Give the last observations of rows that ended."""
        return self._ring.index_select(0, self._moved(self._slots[rows]))

    def write(
        self, rows: Int[IntArray, "row"], is_ended: Bool[BoolArray, "row"], observations: Float[Tensor, "end feature"]
    ) -> None:
        """Note which rows ended now, and with what; what they ended with before is forgotten."""
        gone = int(np.count_nonzero(self.is_ended[rows]))
        self.is_ended[rows] = is_ended
        self._oldest = (self._oldest + gone) % len(self._ring)
        self._count -= gone
        if len(observations):
            self._make_room(len(observations))
            slots = (self._oldest + self._count + np.arange(len(observations))) % len(self._ring)
            self._ring.index_copy_(0, self._moved(slots), handed(observations, self._ring.device))
            self._slots[rows[is_ended]] = slots
            self._count += len(observations)

    def _make_room(self, more: int) -> None:
        """Move to a ring of twice the length, or more, where this one is too short; the oldest comes first in it."""
        length = len(self._ring)
        needed = self._count + more
        if needed <= length:
            return
        ring = torch.empty((max(needed, 2 * length), self._ring.shape[1]), device=self._ring.device)
        in_order = (self._oldest + np.arange(self._count)) % length
        ring[: self._count] = self._ring.index_select(0, self._moved(in_order))
        ended = np.flatnonzero(self.is_ended)
        self._slots[ended] = (self._slots[ended] - self._oldest) % length
        self._ring, self._oldest = ring, 0

    def _moved(self, indices: NDArray[np.integer]) -> Int[Tensor, "index"]:
        return handed(torch.from_numpy(indices.astype(np.int64, copy=False)), self._ring.device)
