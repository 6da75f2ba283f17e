"""All tasks of a run stepped together, as arrays with the task as their first axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from plastikit.train.environment import OBSERVATION_SIZE, TaskEnvironment
from plastikit.train.randomness import numpy_generator

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class VectorStep(NamedTuple):
    """What one action in each task led to."""

    observation: Float[FloatArray, "task feature"]
    """What the next action is chosen from: an ended episode's successor has already begun."""

    next_observation: Float[FloatArray, "task feature"]
    """What the action led to: the last observation of its episode where that ended."""

    reward: Float[FloatArray, "task"]
    is_terminated: Bool[BoolArray, "task"]
    is_truncated: Bool[BoolArray, "task"]
    is_success: Bool[BoolArray, "task"]

    @property
    def is_ended(self) -> Bool[BoolArray, "task"]:
        """Where an episode ended, for either reason."""
        return self.is_terminated | self.is_truncated


class TaskEnvironments:
    """One environment per task, stepped in this process; an ended episode begins anew within the same step.

    Each task draws its goals and their order from a stream of its own, so that no two tasks see the same sequence.
    """

    def __init__(self, tasks: Sequence[str], seed: int) -> None:
        self.tasks = tuple(tasks)
        self._environments = [TaskEnvironment(task, seed) for task in self.tasks]
        self._goal_draws = [numpy_generator(seed, "episodes", task) for task in self.tasks]

    def reset(self) -> Float[FloatArray, "task feature"]:
        """Begin an episode in every task."""
        return np.stack([self._begin(task) for task in range(len(self.tasks))]).astype(np.float32)

    def step(self, actions: Float[FloatArray, "task action"]) -> VectorStep:
        """Take one action in every task."""
        count = len(self.tasks)
        next_observation = np.empty((count, OBSERVATION_SIZE), dtype=np.float32)
        reward = np.empty(count, dtype=np.float32)
        is_terminated, is_truncated, is_success = np.zeros((3, count), dtype=np.bool_)
        for task, environment in enumerate(self._environments):
            outcome = environment.step(actions[task])
            next_observation[task] = outcome.observation
            reward[task] = outcome.reward
            is_terminated[task] = outcome.is_terminated
            is_truncated[task] = outcome.is_truncated
            is_success[task] = outcome.is_success
        observation = next_observation
        ended = np.flatnonzero(is_terminated | is_truncated)
        if ended.size:
            observation = next_observation.copy()
            for task in ended.tolist():
                observation[task] = self._begin(task)
        return VectorStep(observation, next_observation, reward, is_terminated, is_truncated, is_success)

    def close(self) -> None:
        """Release the simulators."""
        for environment in self._environments:
            environment.close()

    def _begin(self, task: int) -> Float[NDArray[np.float64], "feature"]:
        environment = self._environments[task]
        return environment.reset(int(self._goal_draws[task].integers(environment.goal_count)))
