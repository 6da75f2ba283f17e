"""One Meta-World task: its goals, drawn once per seed, and its environment, reset to one of them at a time."""

from __future__ import annotations

import pickle
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.config import GOALS_PER_TASK, REWARD_VERSION
from plastikit.train.randomness import numpy_generator

if TYPE_CHECKING:
    from metaworld.sawyer_xyz_env import SawyerXYZEnv
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
    is_success: bool


@lru_cache(maxsize=256)
def goals(task: str, seed: int) -> tuple[Task, ...]:
    """Draw the 50 goals of a task, the same for a task and seed whatever else is trained or was drawn before.

    Cost: 50 full resets, about 0.4 s; kept for the life of the process.
    """
    from metaworld.types import Task

    environment = _build(task)
    environment.np_random = numpy_generator(seed, "goals", task)
    environment.seeded_rand_vec = True  # draw from the environment's own generator, not from NumPy's global one
    # Meta-World's own benchmarks draw their goals through these; there is no public way.
    environment._freeze_rand_vec = False  # noqa: SLF001
    environment._set_task_called = True  # noqa: SLF001
    drawn = []
    for _ in range(GOALS_PER_TASK):
        environment.reset()
        goal = {
            "rand_vec": environment._last_rand_vec,  # noqa: SLF001
            "env_cls": type(environment),
            "partially_observable": False,  # the goal is a part of the observation
        }
        drawn.append(Task(env_name=task, data=pickle.dumps(goal)))
    environment.close()
    return tuple(drawn)


class TaskEnvironment:
    """A task's environment: 39 observed numbers, 4 actions in [-1, 1], reward v2 unnormalised, truncated at 500.

    It never terminates: success is reported and, in training, acted on by nobody.
    """

    def __init__(self, task: str, seed: int) -> None:
        self.task = task
        self._goals = goals(task, seed)
        self._environment = _build(task)

    @property
    def goal_count(self) -> int:
        """How many goals an episode can have."""
        return len(self._goals)

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


def _build(task: str) -> SawyerXYZEnv:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    return ALL_V3_ENVIRONMENTS[task](reward_function_version=REWARD_VERSION)
