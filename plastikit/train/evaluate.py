"""How well a policy does: episodes in environments of their own, acting without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.workers import Simulators

FloatArray = NDArray[np.float32]
Act = Callable[[Float[FloatArray, "task feature"]], Float[FloatArray, "task action"]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of one evaluation, per task."""

    env_step: int
    """Environment steps of training, over all tasks, that the policy had seen."""

    success_rate: dict[str, float]
    """Share of episodes that reached success, in [0, 1]; NaN for a task that does not tell of success."""

    episode_return: dict[str, float]
    """Mean sum of rewards of an episode, which ends at success."""

    @property
    def mean_success_rate(self) -> float:
        """Success rate averaged over the tasks; NaN where one does not tell of it."""
        return float(np.mean(list(self.success_rate.values())))


class Evaluator:
    """Judges in environments that serve for nothing else, so that judging a policy leaves training as it was.

    Episode i of every evaluation has the task's goal i, counted around: 50 episodes meet each of 50 goals once.
    Nothing is drawn, so the same policy always gets the same answer.
    """

    def __init__(self, simulators: Simulators, episodes: int) -> None:
        self.tasks = simulators.tasks
        self.episodes = episodes
        self._simulators = simulators

    def evaluate(self, act: Act, *, env_step: int) -> Evaluation:
        """Play every task's episodes side by side, one call of ``act`` for all tasks at each step."""
        board, rows = self._simulators.board, self._simulators.evaluation
        count = len(self.tasks)
        successes = np.zeros(count, dtype=np.int64)
        is_told = np.zeros(count, dtype=np.bool_)
        returns = np.zeros(count)
        begun = np.ones(count, dtype=np.int64)
        is_playing = np.ones(count, dtype=np.bool_)
        board.is_asked[:] = False
        board.is_asked[rows] = True
        board.goal[rows] = 0
        self._simulators.begin()
        board.goal[rows] = self._goal_after(begun)
        observation = board.observation[rows].copy()
        while is_playing.any():
            board.is_asked[rows] = is_playing
            board.action[rows] = act(observation)
            self._simulators.step()
            returns[is_playing] += board.reward[rows][is_playing]
            observation[is_playing] = board.next_observation[rows][is_playing]
            is_success = board.is_success[rows] & is_playing
            is_ended = is_success | ((board.is_terminated[rows] | board.is_truncated[rows]) & is_playing)
            successes += is_success
            is_told |= board.is_success_told[rows] & is_playing
            is_playing &= ~(is_ended & (begun == self.episodes))
            is_begun = is_ended & is_playing
            observation[is_begun] = board.observation[rows][is_begun]
            begun += is_begun
            board.goal[rows] = self._goal_after(begun)
        return Evaluation(
            env_step=env_step,
            success_rate=self._by_task(np.where(is_told, successes / self.episodes, np.nan)),
            episode_return=self._by_task(returns / self.episodes),
        )

    def _goal_after(self, begun: NDArray[np.int64]) -> NDArray[np.int64]:
        """The goal of each task's next episode; -1 where there is none."""
        return np.where(begun < self.episodes, begun % self._simulators.goal_counts, -1)

    def _by_task(self, values: NDArray[np.float64]) -> dict[str, float]:
        return {task: float(value) for task, value in zip(self.tasks, values, strict=True)}
