"""A replay as anyone would write it: a list of transitions for each task, each with both of its observations."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Transition = tuple[Array, Array, float, bool, Array]


class Transitions:
    """The last transitions of each task."""

    def __init__(self, task_count: int, capacity: int) -> None:
        self.tasks: list[deque[Transition]] = [deque(maxlen=capacity) for _ in range(task_count)]

    def add(self, observation: Array, action: Array, reward: Array, terminated: Array, next_observation: Array) -> None:
        """Keep one of each task."""
        for task, kept in enumerate(self.tasks):
            kept.append(
                (
                    observation[task].copy(),
                    action[task].copy(),
                    float(reward[task]),
                    bool(terminated[task]),
                    next_observation[task].copy(),
                )
            )

    def find(self, task: int, observation: Array) -> Transition:
        """The one transition of a task that begins with an observation."""
        (found,) = [each for each in self.tasks[task] if np.array_equal(each[0], observation)]
        return found
