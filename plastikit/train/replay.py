"""What each task has lived through lately, for batches with an equal share of every task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from plastikit.train.last_observations import LastObservations
from plastikit.train.rows import empty_rows, handed, windows
from plastikit.train.workers import VectorStep

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Batch(NamedTuple):
    """Transitions of every task, with the task first."""

    observation: Float[Tensor, "task sample feature"]
    action: Float[Tensor, "task sample action"]
    reward: Float[Tensor, "task sample"]
    terminated: Float[Tensor, "task sample"]
    """1 where no value follows; a truncated episode's value goes on, so truncation is 0."""
    next_observation: Float[Tensor, "task sample feature"]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Transitions of consecutive vector steps, on the CPU: what a replay is written down and read back as."""

    first: int
    """The number of its first vector step among all that the replay was ever given."""
    rows: Float[Tensor, "step task number"]
    """Observation, action, reward and whether it terminated, one after the other."""
    is_ended: Bool[Tensor, "step task"]
    """Where an episode ended, for either reason."""
    last_observations: Float[Tensor, "end feature"]
    """Those of the episodes that ended, in the order of steps and tasks."""
    observation: Float[Tensor, "task feature"]
    """What the action after the last of them was chosen from."""

    @property
    def end(self) -> int:
        """The number of the vector step that follows."""
        return self.first + len(self.rows)


class Replay:
    """A ring of transitions for each task, filled in step with each other.

    Each observation is kept once: what a transition led to is what the next one began with, and lies behind it, so
    that both are gathered as one piece. Where an episode ended its last observation is kept apart. Memory on the CPU is
    taken as the ring fills; a GPU sets it aside at once. Which transitions make a batch is drawn on the CPU, and so is
    the same on every device.

    Args:
        task_count: Tasks.
        observation_size: Numbers in an observation.
        action_size: Numbers in an action.
        capacity: Transitions kept for each task.
        generator: Draws the batches.
        device: Where transitions are kept and batches are given.
    """

    def __init__(
        self,
        *,
        task_count: int,
        observation_size: int,
        action_size: int,
        capacity: int,
        generator: np.random.Generator,
        device: torch.device | None = None,
    ) -> None:
        self.capacity = capacity
        self.added = 0
        """Vector steps that were ever added."""
        self.generator = generator
        self.device = torch.device("cpu") if device is None else device
        self._features = observation_size
        width = observation_size + action_size + 2
        self._split = (observation_size, action_size, 1, 1, observation_size)
        # One row more than transitions, for the present observation; and one for it where the ring comes round.
        self._ring = capacity + 1
        length = self._ring + 1
        self._rows = empty_rows((task_count, length, width), self.device)
        self._first_row: IntArray = np.arange(task_count)[:, None] * length
        self._ends = LastObservations(task_count * length, observation_size, self.device)

    @property
    def size(self) -> int:
        """Transitions held for each task."""
        return min(self.added, self.capacity)

    @property
    def nbytes(self) -> int:
        """Bytes of a full replay, with the last observations that there are now."""
        return self._rows.nbytes + self._ends.nbytes

    @property
    def step_nbytes(self) -> int:
        """Bytes that the transitions of one vector step take."""
        return self._rows[:, 0].nbytes

    def add(
        self,
        observation: Float[FloatArray, "task feature"],
        action: Float[FloatArray, "task action"],
        outcome: VectorStep,
    ) -> None:
        """Keep one transition of each task; the oldest makes room."""
        told = (observation, action, outcome.reward[:, None], outcome.is_terminated[:, None])
        is_ended = outcome.is_ended
        self._write(
            torch.from_numpy(np.concatenate(told, axis=1, dtype=np.float32)).unsqueeze(0),
            is_ended[None],
            torch.from_numpy(outcome.next_observation[is_ended]),
            torch.from_numpy(outcome.observation),
        )

    def sample(self, batch_size: int) -> Batch:
        """Draw ``batch_size`` transitions of each task, uniformly and with replacement, the newest among them."""
        task_count = len(self._rows)
        drawn = self.generator.integers(self.size, size=(task_count, batch_size))
        # The row of the present observation holds no transition.
        drawn += drawn >= self.added % self._ring
        drawn += self._first_row
        chosen = drawn.ravel()
        rows = windows(self._rows, chosen, sum(self._split))
        ended = np.flatnonzero(self._ends.is_ended.take(chosen))
        if len(ended):
            rows[:, -self._features :].index_copy_(0, self._moved(ended), self._ends.of(chosen[ended]))
        parts = rows.view(task_count, batch_size, -1).split(self._split, dim=-1)
        observation, action, reward, terminated, next_observation = parts
        return Batch(observation, action, reward.squeeze(-1), terminated.squeeze(-1), next_observation)

    def stretches(self, first: int, longest: int) -> Iterator[Stretch]:
        """Give the transitions from vector step ``first`` on, as far as they are held, ``longest`` at once at most."""
        start = max(first, self.added - self.size)
        while start < self.added:
            end = min(start + longest, self.added)
            positions = np.arange(start, end) % self._ring
            rows = (self._first_row + positions).T
            is_ended = self._ends.is_ended[rows]
            yield Stretch(
                first=start,
                rows=self._rows[:, self._moved(positions)].transpose(0, 1).contiguous().cpu(),
                is_ended=torch.from_numpy(is_ended),
                last_observations=self._ends.of(rows[is_ended]).cpu(),
                observation=self._rows[:, int(positions[-1]) + 1, : self._features].clone().cpu(),
            )
            start = end

    def restore(self, stretches: Iterable[Stretch]) -> None:
        """Hold what ``stretches`` tell, one after the other, as if it had been added to a replay that was empty.

        They must reach back as far as ``capacity`` vector steps, or to the first of all.
        """
        for stretch in stretches:
            self.added = self.added or stretch.first
            skipped = max(0, len(stretch.rows) - self.capacity)
            self.added += skipped
            is_ended = stretch.is_ended.numpy()
            gone = int(is_ended[:skipped].sum())
            self._write(
                stretch.rows[skipped:], is_ended[skipped:], stretch.last_observations[gone:], stretch.observation
            )

    def _write(
        self,
        rows: Float[Tensor, "step task number"],
        is_ended: Bool[BoolArray, "step task"],
        last_observations: Float[Tensor, "end feature"],
        observation: Float[Tensor, "task feature"],
    ) -> None:
        """Put vector steps where the oldest lie, and behind each run of them the observation that follows."""
        begun = 0
        while begun < len(rows):
            place = self.added % self._ring
            count = min(len(rows) - begun, self._ring - place)
            end = begun + count
            self._rows[:, place : place + count] = handed(rows[begun:end].transpose(0, 1), self.device)
            follows = observation if end == len(rows) else rows[end, :, : self._features]
            self._rows[:, place + count, : self._features] = handed(follows, self.device)
            places = (self._first_row + np.arange(place, place + count)).T
            ended = is_ended[begun:end]
            of_these = int(np.count_nonzero(ended))
            self._ends.write(places.ravel(), ended.ravel(), last_observations[:of_these])
            last_observations = last_observations[of_these:]
            self.added += count
            begun = end

    def _moved(self, indices: IntArray) -> Int[Tensor, "index"]:
        return handed(torch.from_numpy(indices), self.device)
