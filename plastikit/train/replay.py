"""What each task has lived through lately, for batches with an equal share of every task."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from plastikit.train.workers import VectorStep

FloatArray = NDArray[np.float32]


class Batch(NamedTuple):
    """Transitions of every task, with the task first."""

    observation: Float[Tensor, "task sample feature"]
    action: Float[Tensor, "task sample action"]
    reward: Float[Tensor, "task sample"]
    terminated: Float[Tensor, "task sample"]
    """1 where no value follows; a truncated episode's value goes on, so truncation is 0."""
    next_observation: Float[Tensor, "task sample feature"]


class Replay:
    """A ring of transitions for each task, filled in step with each other.

    A transition lies in one row, so that a batch is one gather. Memory is taken as the rings fill.
    """

    def __init__(
        self, *, task_count: int, observation_size: int, action_size: int, capacity: int, generator: np.random.Generator
    ) -> None:
        self.capacity = capacity
        self.size = 0
        """Transitions held for each task."""
        self._position = 0
        self._generator = generator
        self._split = (observation_size, action_size, 1, 1, observation_size)
        # Untouched pages of an empty array take no memory.
        self._rows: FloatArray = np.empty((task_count, capacity, sum(self._split)), dtype=np.float32)
        self._first_row = np.arange(task_count)[:, None] * capacity

    def add(
        self,
        observation: Float[FloatArray, "task feature"],
        action: Float[FloatArray, "task action"],
        outcome: VectorStep,
    ) -> None:
        """Keep one transition of each task; the oldest makes room."""
        row = self._rows[:, self._position]
        features, actions = self._split[:2]
        row[:, :features] = observation
        row[:, features : features + actions] = action
        row[:, features + actions] = outcome.reward
        row[:, features + actions + 1] = outcome.is_terminated
        row[:, features + actions + 2 :] = outcome.next_observation
        self._position = (self._position + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def sample(self, batch_size: int) -> Batch:
        """Draw ``batch_size`` transitions of each task, uniformly and with replacement."""
        task_count = len(self._rows)
        drawn = self._generator.integers(self.size, size=(task_count, batch_size)) + self._first_row
        rows = torch.from_numpy(self._rows.reshape(task_count * self.capacity, -1).take(drawn, axis=0))
        observation, action, reward, terminated, next_observation = rows.split(self._split, dim=-1)
        return Batch(observation, action, reward.squeeze(-1), terminated.squeeze(-1), next_observation)
