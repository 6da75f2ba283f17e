"""What was done in each task since its episode began: with the goal, all that it takes to stand there again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class PlayedActions:
    """The actions of every task's present episode.

    Memory: one row of actions for each vector step since the oldest of the episodes began.
    """

    def __init__(self, task_count: int) -> None:
        self._rows: list[Float[FloatArray, "task action"]] = []
        self._lengths = np.zeros(task_count, dtype=np.int64)

    def add(self, actions: Float[FloatArray, "task action"]) -> None:
        """Note an action in every task."""
        self._rows.append(np.array(actions, dtype=np.float32))
        self._lengths += 1

    def forget(self, is_ended: Bool[NDArray[np.bool_], "task"]) -> None:
        """Begin anew in the tasks whose episode ended."""
        self._lengths[is_ended] = 0
        del self._rows[: len(self._rows) - int(self._lengths.max())]

    def each(self) -> list[Float[FloatArray, "step action"]]:
        """Each task's own, from its episode's first on."""
        ends = len(self._rows)
        return [
            np.stack([row[task] for row in self._rows[ends - length :]]) if length else np.empty((0, 0), np.float32)
            for task, length in enumerate(self._lengths.tolist())
        ]

    def replace(self, actions: Sequence[Float[FloatArray, "step action"]]) -> None:
        """Take over what ``each`` gave."""
        self._lengths = np.array([len(played) for played in actions], dtype=np.int64)
        longest = int(self._lengths.max())
        size = max((played.shape[1] for played in actions if len(played)), default=0)
        rows = np.zeros((longest, len(actions), size), dtype=np.float32)
        for task, played in enumerate(actions):
            if len(played):
                rows[longest - len(played) :, task] = played
        self._rows = list(rows)
