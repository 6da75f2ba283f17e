"""All tasks stepped together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from plastikit.train.environment import TaskEnvironment
from plastikit.train.workers import TaskEnvironments

TASKS = ("reach-v3", "drawer-close-v3")


@pytest.fixture
def environments() -> Iterator[TaskEnvironments]:
    """Two tasks under seed 0."""
    made = TaskEnvironments(TASKS, seed=0)
    yield made
    made.close()


def test_each_row_is_its_tasks_environment(environments: TaskEnvironments) -> None:
    """Stepping together gives what each environment gives alone, as float32."""
    observation = environments.reset()
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, (10, 2, 4)).astype(np.float32)
    steps = [environments.step(action) for action in actions]
    assert observation.shape == (2, 39)
    assert observation.dtype == steps[0].next_observation.dtype == np.float32
    for row, task in enumerate(TASKS):
        alone = TaskEnvironment(task, 0)
        goal = next(goal for goal in range(50) if np.array_equal(np.float32(alone.reset(goal)), observation[row]))
        alone.reset(goal)
        for action, step in zip(actions[:, row], steps, strict=True):
            outcome = alone.step(action)
            assert np.array_equal(step.next_observation[row], np.float32(outcome.observation))
            assert step.reward[row] == np.float32(outcome.reward)


def test_the_last_observation_is_kept_apart_from_the_next_episodes_first(environments: TaskEnvironments) -> None:
    """At truncation the action's own outcome is the next observation, and the next episode has begun."""
    environments.reset()
    still = np.zeros((2, 4), dtype=np.float32)
    for _ in range(499):
        step = environments.step(still)
        assert step.observation is step.next_observation
    last = environments.step(still)
    assert last.is_truncated.all()
    assert not last.is_terminated.any()
    assert last.is_ended.all()
    assert np.abs(last.next_observation - step.next_observation).max() < 0.01
    assert not np.array_equal(last.observation, last.next_observation)
    assert not environments.step(still).is_truncated.any()


def test_tasks_draw_goals_of_their_own_that_their_neighbours_do_not_change() -> None:
    """Goal sequences differ between tasks and stay the same in any selection of tasks."""
    together = TaskEnvironments(TASKS, seed=0)
    alone = TaskEnvironments(TASKS[1:], seed=0)
    order = [[int(draws.integers(50)) for _ in range(20)] for draws in together._goal_draws]
    assert order[0] != order[1]
    assert order[1] == [int(alone._goal_draws[0].integers(50)) for _ in range(20)]
