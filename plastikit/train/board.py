"""What the processes of a run hand to each other: arrays in memory that all of them see, a row for each environment."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

_LINE: Final = 64
"""Bytes of a cache line, on which each array begins."""


class Board:
    """The arrays; whoever asks for a step writes the first three, whoever steps the others."""

    def __init__(self, memory: mmap.mmap, rows: int, observation_size: int, action_size: int) -> None:
        self._memory = memory
        self._begins = 0
        self.is_asked: NDArray[np.bool_] = self._array((rows,), np.bool_)
        """Which environments are to begin an episode or to take a step."""
        self.goal: NDArray[np.int64] = self._array((rows,), np.int64)
        """With which goal an episode begins, now or when the present one ends; -1: with none, the environment rests."""
        self.action: NDArray[np.float32] = self._array((rows, action_size), np.float32)
        self.observation: NDArray[np.float32] = self._array((rows, observation_size), np.float32)
        """The first observation of the last episode that was begun."""
        self.next_observation: NDArray[np.float32] = self._array((rows, observation_size), np.float32)
        self.reward: NDArray[np.float64] = self._array((rows,), np.float64)
        self.is_terminated: NDArray[np.bool_] = self._array((rows,), np.bool_)
        self.is_truncated: NDArray[np.bool_] = self._array((rows,), np.bool_)
        self.is_success: NDArray[np.bool_] = self._array((rows,), np.bool_)
        self.is_success_told: NDArray[np.bool_] = self._array((rows,), np.bool_)
        """Whether the environment says anything of success; where it does not, it counts as none."""

    @staticmethod
    def size(rows: int, observation_size: int, action_size: int) -> int:
        """How many bytes the arrays take, with room for each to begin on a cache line."""
        return rows * (8 * observation_size + 4 * action_size + 21) + 10 * _LINE

    def _array(self, shape: tuple[int, ...], kind: type[Scalar]) -> NDArray[Scalar]:
        count = int(np.prod(shape))
        array = np.frombuffer(self._memory, dtype=kind, count=count, offset=self._begins).reshape(shape)
        self._begins += -(-array.nbytes // _LINE) * _LINE
        return array


def nameless_file(size: int) -> int:
    """Open a file of ``size`` zeros that has no name: it is gone with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("plastikit")
    else:
        with tempfile.TemporaryFile() as opened:
            file = os.dup(opened.fileno())
    os.ftruncate(file, size)
    return file
