"""All tasks stepped together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import numpy as np
import pytest
from benchmarks.stepping import GymnasiumTask
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plastikit.train.balance import cores
from plastikit.train.environment import TaskEnvironment
from plastikit.train.workers import Simulators, TaskEnvironments, VectorStep

TASKS = ("reach-v3", "drawer-close-v3")


@pytest.fixture
def environments() -> Iterator[TaskEnvironments]:
    """Two tasks under seed 0."""
    with closing(Simulators(TASKS, seed=0)) as simulators:
        yield TaskEnvironments(simulators, seed=0)


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


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_trajectories_are_those_of_gymnasium(workers: int) -> None:
    """However many processes step, every number is SyncVectorEnv's, over the ends of episodes too."""
    tasks = ("push-v3", *TASKS)
    actions = np.random.default_rng(2).uniform(-1.0, 1.0, (505, 3, 4)).astype(np.float32)
    sync = SyncVectorEnv([partial(GymnasiumTask, task, 3) for task in tasks], autoreset_mode=AutoresetMode.SAME_STEP)
    with closing(sync), closing(Simulators(tasks, 3, workers)) as simulators:
        ours = TaskEnvironments(simulators, 3)
        assert np.array_equal(ours.reset(), sync.reset()[0].astype(np.float32))
        for action in actions:
            step = ours.step(action)
            observation, reward, terminations, truncations, info = sync.step(action)
            final = np.stack(info["final_obs"]) if "final_obs" in info else observation
            expected = VectorStep(
                observation.astype(np.float32),
                final.astype(np.float32),
                reward.astype(np.float32),
                terminations,
                truncations,
                info.get("final_info", info)["success"],
            )
            for found, wanted in zip(step, expected, strict=True):
                assert np.array_equal(found, wanted)


def test_what_a_step_gave_is_not_overwritten_by_the_next(environments: TaskEnvironments) -> None:
    """A step's arrays are the caller's to keep."""
    environments.reset()
    step = environments.step(np.ones((2, 4), dtype=np.float32))
    kept = [array.copy() for array in step]
    environments.step(-np.ones((2, 4), dtype=np.float32))
    assert all(np.array_equal(array, copy) for array, copy in zip(step, kept, strict=True))


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
    together = TaskEnvironments(Simulators(TASKS, seed=0), seed=0)
    alone = TaskEnvironments(Simulators(TASKS[1:], seed=0), seed=0)
    order = [[int(draws.integers(50)) for _ in range(20)] for draws in together._goal_draws]
    assert order[0] != order[1]
    assert order[1] == [int(alone._goal_draws[0].integers(50)) for _ in range(20)]


@pytest.mark.parametrize(
    ("asked", "tasks", "taken"), [(5, 2, 2), (1, 2, 1), (None, 1, 1), (None, 10, min(cores(), 10))]
)
def test_there_are_no_more_processes_than_tasks(asked: int | None, tasks: int, taken: int) -> None:
    """Left alone, there is one process per core."""
    with closing(Simulators([f"task-{number}" for number in range(tasks)], 0, asked)) as simulators:
        assert simulators.worker_count == taken
