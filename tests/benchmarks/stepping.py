"""The same environments under other drivers: gymnasium's vector environments, and processes that never wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from plastikit.train.balance import shares, step_costs
from plastikit.train.config import REWARD_VERSION
from plastikit.train.crew import Crew
from plastikit.train.environment import TaskEnvironment, TaskStep
from plastikit.train.parts import whole
from plastikit.train.randomness import numpy_generator
from plastikit.train.suites import goal_count, maker, sizes


def plain_simulator(task: str) -> SawyerXYZEnv:
    """The simulator of a task as Meta-World has it."""
    return ALL_V3_ENVIRONMENTS[task](reward_function_version=REWARD_VERSION)


class GymnasiumTask(gymnasium.Env[np.ndarray, np.ndarray]):
    """A task as gymnasium steps it, with the goals in the order in which the trainer takes them.

    One of Meta-World's is simulated by Meta-World's own class, unless ``is_faster``.
    """

    def __init__(self, task: str, seed: int, *, is_faster: bool = False) -> None:
        observation, action = sizes((task,))
        self.observation_space = Box(-np.inf, np.inf, (observation,), np.float64)
        self.action_space = Box(-1.0, 1.0, (action,), np.float32)
        self._environment = maker(task, seed)()
        if isinstance(self._environment, TaskEnvironment) and not is_faster:
            self._environment._environment = plain_simulator(whole(task))
        self._goal_count = goal_count(task)
        self._goal_draws = numpy_generator(seed, "episodes", task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode with the next goal."""
        return self._environment.reset(int(self._goal_draws.integers(self._goal_count))), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        outcome = self._environment.step(action)
        return (*outcome[:4], {"success": outcome.is_success})


class FreeTasks:
    """Several tasks that one order steps many times, so that nobody is waited for in between."""

    def __init__(self, tasks: Sequence[str], seed: int, steps: int, is_faster: bool) -> None:
        self._tasks = [GymnasiumTask(task, seed, is_faster=is_faster) for task in tasks]
        shape = (steps, len(tasks), sizes(tasks).action)
        self._actions = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def reset(self, goal: int) -> np.ndarray:
        """Begin an episode in every task."""
        observations = [task.reset()[0] for task in self._tasks]
        return observations[goal]

    def step(self, action: np.ndarray) -> TaskStep:
        """Take every action in every task, in turn."""
        for actions in self._actions:
            for task, chosen in zip(self._tasks, actions, strict=True):
                observation, _, is_terminated, is_truncated, _ = task.step(chosen)
                if is_terminated or is_truncated:
                    task.reset()
        return TaskStep(observation, 0.0, is_terminated=False, is_truncated=False, is_success=False)

    def close(self) -> None:
        """Nothing is held."""


class MakeFree:
    """Makes ``FreeTasks`` in the process that steps them."""

    def __init__(self, tasks: Sequence[str], seed: int, steps: int, is_faster: bool) -> None:
        self.made_of = (tasks, seed, steps, is_faster)

    def __call__(self) -> FreeTasks:
        """Make them."""
        return FreeTasks(*self.made_of)


def free_crew(tasks: Sequence[str], seed: int, steps: int, workers: int, *, is_faster: bool) -> Crew:
    """Processes with the shares that a run of ``workers`` would have; each step of theirs is ``steps`` of the tasks."""
    parts = shares(step_costs(tasks), workers)
    crew = Crew(
        [MakeFree([tasks[row] for row in part], seed, steps, is_faster) for part in parts],
        [f"share {number}" for number in range(workers)],
        [[number] for number in range(workers)],
        ends_at_success=frozenset(),
        observation_size=sizes(tasks).observation,
        action_size=sizes(tasks).action,
    )
    crew.board.is_asked[:] = True
    return crew
