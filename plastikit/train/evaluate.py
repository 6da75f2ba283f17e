"""How well a policy does: episodes in environments of their own, acting without noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.environment import OBSERVATION_SIZE, TaskEnvironment

FloatArray = NDArray[np.float32]
Act = Callable[[Float[FloatArray, "task feature"]], Float[FloatArray, "task action"]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of one evaluation, per task."""

    env_step: int
    """Environment steps of training, over all tasks, that the policy had seen."""

    success_rate: dict[str, float]
    """Share of episodes that reached success, in [0, 1]."""

    episode_return: dict[str, float]
    """Mean sum of rewards of an episode, which ends at success."""

    @property
    def mean_success_rate(self) -> float:
        """Success rate averaged over the tasks."""
        return float(np.mean(list(self.success_rate.values())))


class Evaluator:
    """Environments for evaluation alone, so that judging a policy leaves training as it was.

    Episode i of every evaluation has the task's goal i, counted around: 50 episodes meet each goal once. Nothing is
    drawn, so the same policy always gets the same answer.
    """

    def __init__(self, tasks: Sequence[str], seed: int, episodes: int) -> None:
        self.tasks = tuple(tasks)
        self.episodes = episodes
        self._environments = [TaskEnvironment(task, seed) for task in self.tasks]

    def evaluate(self, act: Act, *, env_step: int) -> Evaluation:
        """Play every task's episodes side by side, one call of ``act`` for all tasks at each step."""
        count = len(self.tasks)
        successes = np.zeros(count, dtype=np.int64)
        returns = np.zeros(count)
        begun = np.ones(count, dtype=np.int64)
        observation = np.empty((count, OBSERVATION_SIZE), dtype=np.float32)
        for task, environment in enumerate(self._environments):
            observation[task] = environment.reset(0)
        playing = list(range(count))
        while playing:
            actions = act(observation)
            for task in tuple(playing):
                environment = self._environments[task]
                outcome = environment.step(actions[task])
                returns[task] += outcome.reward
                observation[task] = outcome.observation
                if not (outcome.is_success or outcome.is_terminated or outcome.is_truncated):
                    continue
                successes[task] += outcome.is_success
                if begun[task] == self.episodes:
                    playing.remove(task)
                    continue
                observation[task] = environment.reset(int(begun[task]) % environment.goal_count)
                begun[task] += 1
        return Evaluation(
            env_step=env_step,
            success_rate=self._by_task(successes / self.episodes),
            episode_return=self._by_task(returns / self.episodes),
        )

    def close(self) -> None:
        """Release the simulators."""
        for environment in self._environments:
            environment.close()

    def _by_task(self, values: NDArray[np.float64]) -> dict[str, float]:
        return {task: float(value) for task, value in zip(self.tasks, values, strict=True)}
