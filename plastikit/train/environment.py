"""One Meta-World task's environment, reset to one of its goals at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.goals import along_widest, goal_vectors, goals
from plastikit.train.parts import part, whole
from plastikit.train.simulator import goal_box, simulator

if TYPE_CHECKING:
    from metaworld.types import Task

OBSERVATION_SIZE = 39
ACTION_SIZE = 4

FloatArray = NDArray[np.float64]


class TaskStep(NamedTuple):
    """What one action in one task led to."""

    observation: Float[FloatArray, "feature"]
    reward: float
    is_terminated: bool
    is_truncated: bool
    is_success: bool | None
    """None where the environment does not tell."""


class Environment(Protocol):
    """What can be stepped beside others: an environment whose episodes are told apart by the number of their goal."""

    def reset(self, goal: int) -> Float[FloatArray, "feature"]:
        """Begin an episode with one of the goals, by its number."""
        ...

    def step(self, action: Float[NDArray[np.float32], "action"]) -> TaskStep:
        """Take one action."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class TaskEnvironment:
    """A task's environment: 39 observed numbers, 4 actions in [-1, 1], reward v2 unnormalised, truncated at 500.

    It never terminates: success is reported and, in training, acted on by nobody. A part of a task has its share of
    the task's goals: neighbours along the coordinate in which Meta-World spreads them widest.
    """

    def __init__(self, task: str, seed: int) -> None:
        self.task = task
        own, known = part(task), whole(task)
        self._goals: Sequence[Task] = goals(known, seed)
        self._environment = simulator(known)
        if own is not None:
            order = along_widest(goal_vectors(known, seed), goal_box(self._environment))
            self._goals = [self._goals[number] for number in own.share(order)]

    def reset(self, goal: int) -> Float[FloatArray, "feature"]:
        """Begin an episode with one of the goals, by its number."""
        self._environment.set_task(self._goals[goal])
        observation: FloatArray = self._environment.reset()[0]
        return observation

    def step(self, action: Float[NDArray[np.float32], "action"]) -> TaskStep:
        """Take one action; after a truncated step the episode must be begun anew."""
        observation, reward, is_terminated, is_truncated, info = self._environment.step(action)
        return TaskStep(observation, float(reward), is_terminated, is_truncated, bool(info["success"]))

    def close(self) -> None:
        """Release the simulator."""
        self._environment.close()
