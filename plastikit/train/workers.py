"""All tasks of a run stepped together, as arrays with the task as their first axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from plastikit.train.balance import cores, shares, step_costs
from plastikit.train.board import Board
from plastikit.train.config import GOALS_PER_TASK
from plastikit.train.crew import Crew
from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE, TaskEnvironment
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


class Simulators:
    """Two environments for each task, one to train in and one to be judged in, stepped by several processes.

    An environment is made when its first episode begins, by the process that steps it. Which process steps which tasks
    follows from what their steps cost, and changes no number.

    Args:
        tasks: The tasks.
        seed: Seed of the tasks' goals.
        workers: Processes; 1 steps in this one, None takes one per core. Never more than tasks.
    """

    def __init__(self, tasks: Sequence[str], seed: int, workers: int | None = 1) -> None:
        self.tasks = tuple(tasks)
        count = len(self.tasks)
        self.worker_count = min(workers or cores(), count)
        self.training, self.evaluation = slice(0, count), slice(count, 2 * count)
        """The rows of the board."""
        makers = [partial(TaskEnvironment, task, seed) for task in self.tasks]
        self._crew = Crew(
            [*makers, *makers],
            [*self.tasks, *self.tasks],
            [[*part, *(row + count for row in part)] for part in shares(step_costs(self.tasks), self.worker_count)],
            ends_at_success=frozenset(range(count, 2 * count)),
            observation_size=OBSERVATION_SIZE,
            action_size=ACTION_SIZE,
        )
        self.board: Board = self._crew.board
        self.begin, self.step, self.close = self._crew.begin, self._crew.step, self._crew.close


class TaskEnvironments:
    """The environments to train in; an ended episode begins anew within the same step.

    Each task draws its goals and their order from a stream of its own, so that no two tasks see the same sequence.
    """

    def __init__(self, simulators: Simulators, seed: int) -> None:
        self.tasks = simulators.tasks
        self._simulators = simulators
        self._rows = simulators.training
        self._goal_draws = [numpy_generator(seed, "episodes", task) for task in self.tasks]
        self._draw_goals(range(len(self.tasks)))

    def reset(self) -> Float[FloatArray, "task feature"]:
        """Begin an episode in every task."""
        board = self._ask()
        self._simulators.begin()
        self._draw_goals(range(len(self.tasks)))
        return board.observation[self._rows].copy()

    def step(self, actions: Float[FloatArray, "task action"]) -> VectorStep:
        """Take one action in every task."""
        board, rows = self._ask(), self._rows
        board.action[rows] = actions
        self._simulators.step()
        next_observation = board.next_observation[rows].copy()
        is_terminated, is_truncated = board.is_terminated[rows].copy(), board.is_truncated[rows].copy()
        observation = next_observation
        is_ended = is_terminated | is_truncated
        if is_ended.any():
            observation = np.where(is_ended[:, None], board.observation[rows], next_observation)
            self._draw_goals(np.flatnonzero(is_ended).tolist())
        reward, is_success = board.reward[rows].astype(np.float32), board.is_success[rows].copy()
        return VectorStep(observation, next_observation, reward, is_terminated, is_truncated, is_success)

    def _ask(self) -> Board:
        board = self._simulators.board
        board.is_asked[:] = False
        board.is_asked[self._rows] = True
        return board

    def _draw_goals(self, tasks: Sequence[int]) -> None:
        """Put the goals on the board that the tasks' next episodes will have."""
        for task in tasks:
            self._simulators.board.goal[task] = self._goal_draws[task].integers(GOALS_PER_TASK)
