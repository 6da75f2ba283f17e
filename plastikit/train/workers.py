"""All tasks of a run stepped together, as arrays with the task as their first axis."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from plastikit.errors import UnrepeatableError
from plastikit.train.balance import shares, step_costs, worker_count
from plastikit.train.board import Board
from plastikit.train.crew import Crew
from plastikit.train.played import PlayedActions
from plastikit.train.randomness import numpy_generator
from plastikit.train.suites import goal_count, maker, sizes

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
    """False also where the environment does not tell."""

    @property
    def is_ended(self) -> Bool[BoolArray, "task"]:
        """Where an episode ended, for either reason."""
        return self.is_terminated | self.is_truncated


def process_count(tasks: Sequence[str], workers: int | None) -> int:
    """Give how many processes step tasks: ``workers``, or None for one per core where that pays; no more than tasks."""
    return min(workers, len(tasks)) if workers else worker_count(step_costs(tasks))


def require_sendable(tasks: Sequence[str], workers: int | None) -> None:
    """Fail where other processes are to step tasks and cannot be sent what makes their environments.

    Raises:
        ConfigurationError: it cannot be pickled, or is what the script itself defines.
        UnknownNameError: no suite knows a task.
    """
    if process_count(tasks, workers) > 1:
        # No seed makes a difference to what can be pickled.
        pickle.dumps([maker(task, seed=0) for task in tasks])


class Simulators:
    """Two environments for each task, one to train in and one to be judged in, stepped by several processes.

    An environment is made when its first episode begins, by the process that steps it. Which process steps which tasks
    follows from what their steps cost, and changes no number.

    Args:
        tasks: The tasks.
        seed: Seed of the tasks' goals.
        workers: Processes; 1 steps in this one, None takes one per core where that pays. Never more than tasks.

    Raises:
        ConfigurationError: The tasks' spaces differ, or cannot be trained on; or other processes are to step the
            tasks and cannot be sent what makes their environments.
    """

    def __init__(self, tasks: Sequence[str], seed: int, workers: int | None = 1) -> None:
        self.tasks = tuple(tasks)
        count = len(self.tasks)
        costs = step_costs(self.tasks)
        self.worker_count = process_count(self.tasks, workers)
        self.sizes = sizes(self.tasks)
        self.goal_counts = np.array([goal_count(task) for task in self.tasks])
        self.training, self.evaluation = slice(0, count), slice(count, 2 * count)
        """The rows of the board."""
        makers = [maker(task, seed) for task in self.tasks]
        self._crew = Crew(
            [*makers, *makers],
            [*self.tasks, *self.tasks],
            [[*part, *(row + count for row in part)] for part in shares(costs, self.worker_count)],
            ends_at_success=frozenset(range(count, 2 * count)),
            observation_size=self.sizes.observation,
            action_size=self.sizes.action,
        )
        self.board: Board = self._crew.board
        self.begin, self.step, self.close = self._crew.begin, self._crew.step, self._crew.close
        self.order, self.collect = self._crew.order, self._crew.collect


class TaskEnvironments:
    """The environments to train in; an ended episode begins anew within the same step.

    Each task draws its goals and their order from a stream of its own, so that no two tasks see the same sequence.
    """

    def __init__(self, simulators: Simulators, seed: int) -> None:
        self.tasks = simulators.tasks
        self._simulators = simulators
        self._rows = simulators.training
        self._every = np.ones(len(self.tasks), dtype=np.bool_)
        self._goal_draws = [numpy_generator(seed, "episodes", task) for task in self.tasks]
        self._played = PlayedActions(len(self.tasks))
        self._goals = np.zeros(len(self.tasks), dtype=np.int64)
        self._next_goals = np.zeros(len(self.tasks), dtype=np.int64)
        self._observation = np.zeros((0, 0), dtype=np.float32)
        self._draw_goals(self._every)

    def reset(self) -> Float[FloatArray, "task feature"]:
        """Begin an episode in every task."""
        board = self._ask(self._every, self._next_goals)
        self._simulators.begin()
        self._observation = board.observation[self._rows].copy()
        self._begun(self._every)
        return self._observation.copy()

    def order(self, actions: Float[FloatArray, "task action"]) -> None:
        """Have an action taken in every task, and wait for none; until ``collect`` nothing else may be asked."""
        board = self._ask(self._every, self._next_goals)
        board.action[self._rows] = actions
        self._simulators.order()
        self._played.add(actions)

    def collect(self) -> VectorStep:
        """Wait for what was ordered, and give what it led to.

        Raises:
            SimulatorError: a process that steps ended; the error holds its traceback.
        """
        self._simulators.collect()
        board, rows = self._simulators.board, self._rows
        next_observation = board.next_observation[rows].copy()
        is_terminated, is_truncated = board.is_terminated[rows].copy(), board.is_truncated[rows].copy()
        observation = next_observation
        is_ended = is_terminated | is_truncated
        if is_ended.any():
            observation = np.where(is_ended[:, None], board.observation[rows], next_observation)
            self._begun(is_ended)
        self._observation = observation
        reward, is_success = board.reward[rows].astype(np.float32), board.is_success[rows].copy()
        return VectorStep(observation, next_observation, reward, is_terminated, is_truncated, is_success)

    def state_dict(self) -> dict[str, Any]:
        """Give what it takes to stand here again: each episode's goal and actions, and what its task will draw.

        It may be asked between a ``collect`` and the next ``order``.
        """
        return {
            "goals": self._goals.tolist(),
            "next_goals": self._next_goals.tolist(),
            "goal_draws": [draws.bit_generator.state for draws in self._goal_draws],
            "played": [torch.from_numpy(actions) for actions in self._played.each()],
            "observation": torch.from_numpy(self._observation.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Float[FloatArray, "task feature"]:
        """Stand where ``state_dict`` was asked, bit for bit, and give the observation there.

        Cost: the steps of the present episodes, played again in all tasks side by side.

        Raises:
            UnrepeatableError: an environment came to another observation than it had.
            SimulatorError: a process that steps ended; the error holds its traceback.
        """
        for draws, drawn in zip(self._goal_draws, state["goal_draws"], strict=True):
            draws.bit_generator.state = drawn
        self._goals = np.array(state["goals"], dtype=np.int64)
        self._next_goals = np.array(state["next_goals"], dtype=np.int64)
        played = [actions.numpy() for actions in state["played"]]
        self._played.replace(played)
        self._observation = self._play_again(played)
        expected = state["observation"].numpy()
        for task, found, wanted in zip(self.tasks, self._observation, expected, strict=True):
            if found.tobytes() != wanted.tobytes():
                raise UnrepeatableError(
                    f"{task} came to another observation when the actions of its episode were played again: it depends "
                    "on more than its goal and its actions, or it is of another version. Such a run cannot be resumed; "
                    "start it anew."
                )
        return self._observation.copy()

    def _play_again(self, played: Sequence[Float[FloatArray, "step action"]]) -> Float[FloatArray, "task feature"]:
        """Begin the present episodes and take their actions; none is followed by another."""
        board, rows = self._ask(self._every, self._goals), self._rows
        self._simulators.begin()
        observation = board.observation[rows].copy()
        lengths = np.array([len(actions) for actions in played])
        is_over = np.zeros(len(self.tasks), dtype=np.bool_)
        for step in range(int(lengths.max())):
            is_asked = (step < lengths) & ~is_over
            self._ask(is_asked, np.full(len(self.tasks), -1))
            for task in np.flatnonzero(is_asked).tolist():
                board.action[rows][task] = played[task][step]
            self._simulators.step()
            observation[is_asked] = board.next_observation[rows][is_asked]
            is_over |= is_asked & (board.is_terminated[rows] | board.is_truncated[rows])
        # An episode that has ended is not the one that went on.
        observation[is_over] = np.nan
        return observation

    def _ask(self, is_asked: Bool[BoolArray, "task"], goals: NDArray[np.int64]) -> Board:
        board = self._simulators.board
        board.is_asked[:] = False
        board.is_asked[self._rows] = is_asked
        board.goal[self._rows] = goals
        return board

    def _begun(self, is_begun: Bool[BoolArray, "task"]) -> None:
        """Note that the tasks' next episodes are the present ones."""
        self._goals = np.where(is_begun, self._next_goals, self._goals)
        self._played.forget(is_begun)
        self._draw_goals(is_begun)

    def _draw_goals(self, is_drawn: Bool[BoolArray, "task"]) -> None:
        """Draw the goals that the tasks' next episodes will have."""
        for task in np.flatnonzero(is_drawn):
            self._next_goals[task] = self._goal_draws[task].integers(self._simulators.goal_counts[task])
