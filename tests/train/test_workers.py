"""All tasks stepped together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.stepping import GymnasiumTask
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plastikit.errors import UnrepeatableError
from plastikit.train.balance import cores
from plastikit.train.environment import TaskEnvironment
from plastikit.train.evaluate import Evaluator
from plastikit.train.suites import sizes
from plastikit.train.tasks import resolve_tasks
from plastikit.train.workers import Simulators, TaskEnvironments, VectorStep

TASKS = ("reach-v3", "drawer-close-v3")
PENDULUMS = ("pendulum-1of2", "pendulum-2of2", "zoo.pendulums:Falling-v0")
"""The last one's episodes terminate, each after a number of steps of its own."""


def stepped(environments: TaskEnvironments, actions: np.ndarray) -> VectorStep:
    """Take one action in every task."""
    environments.order(actions)
    return environments.collect()


def kept(state: dict[str, Any]) -> dict[str, Any]:
    """The state as a file gives it back."""
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


@pytest.fixture
def environments() -> Iterator[TaskEnvironments]:
    """Two tasks under seed 0."""
    with closing(Simulators(TASKS, seed=0)) as simulators:
        yield TaskEnvironments(simulators, seed=0)


@pytest.fixture
def pendulums() -> Iterator[TaskEnvironments]:
    """Three pendulums under seed 0."""
    with closing(Simulators(PENDULUMS, seed=0)) as simulators:
        yield TaskEnvironments(simulators, seed=0)


def test_each_row_is_its_tasks_environment(environments: TaskEnvironments) -> None:
    """Stepping together gives what each environment gives alone, as float32."""
    observation = environments.reset()
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, (10, 2, 4)).astype(np.float32)
    steps = [stepped(environments, action) for action in actions]
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


@pytest.mark.parametrize(
    ("tasks", "workers"), [(PENDULUMS, 1), (PENDULUMS, 2), (PENDULUMS, 3), (("push-v3", "reach-v3", "push-v3-2of4"), 2)]
)
def test_trajectories_are_those_of_gymnasium(tasks: tuple[str, ...], workers: int) -> None:
    """However many processes step, every number is SyncVectorEnv's, over the ends of episodes too."""
    action_size = sizes(tasks).action
    actions = np.random.default_rng(2).uniform(-1.0, 1.0, (505, len(tasks), action_size)).astype(np.float32)
    sync = SyncVectorEnv([partial(GymnasiumTask, task, 3) for task in tasks], autoreset_mode=AutoresetMode.SAME_STEP)
    with closing(sync), closing(Simulators(tasks, 3, workers)) as simulators:
        ours = TaskEnvironments(simulators, 3)
        assert np.array_equal(ours.reset(), sync.reset()[0].astype(np.float32))
        for action in actions:
            step = stepped(ours, action)
            observation, reward, terminations, truncations, info = sync.step(action)
            final, is_success = observation.copy(), info.get("success", np.zeros(len(tasks), dtype=np.bool_))
            for task in np.flatnonzero(terminations | truncations):
                final[task] = info["final_obs"][task]
                is_success[task] = info["final_info"]["success"][task]
            expected = VectorStep(
                observation.astype(np.float32),
                final.astype(np.float32),
                reward.astype(np.float32),
                terminations,
                truncations,
                is_success,
            )
            for found, wanted in zip(step, expected, strict=True):
                assert np.array_equal(found, wanted)


def test_what_a_step_gave_is_not_overwritten_by_the_next(pendulums: TaskEnvironments) -> None:
    """A step's arrays are the caller's to keep."""
    pendulums.reset()
    step = stepped(pendulums, np.ones((3, 1), dtype=np.float32))
    copies = [array.copy() for array in step]
    stepped(pendulums, -np.ones((3, 1), dtype=np.float32))
    assert all(np.array_equal(array, copy) for array, copy in zip(step, copies, strict=True))


def test_the_last_observation_is_kept_apart_from_the_next_episodes_first(pendulums: TaskEnvironments) -> None:
    """At truncation the action's own outcome is the next observation, and the next episode has begun."""
    pendulums.reset()
    still = np.zeros((3, 1), dtype=np.float32)
    ends = np.zeros(3, dtype=np.int64)
    for number in range(1, 201):
        step = stepped(pendulums, still)
        assert (step.observation == step.next_observation).all(axis=1).tolist() == (~step.is_ended).tolist()
        assert step.is_truncated.tolist() == [number == 200] * 2 + [False]
        ends += step.is_terminated
    assert ends[:2].tolist() == [0, 0]
    assert ends[2] > 1


def test_tasks_draw_goals_of_their_own_that_their_neighbours_do_not_change() -> None:
    """Goal sequences differ between tasks and stay the same in any selection of tasks, and a part draws its share."""
    tasks = (*TASKS, "reach-v3-1of10")

    def drawn(tasks: tuple[str, ...]) -> np.ndarray:
        environments = TaskEnvironments(Simulators(tasks, seed=0), seed=0)
        goals = []
        for _ in range(40):
            goals.append(environments._next_goals.copy())
            environments._begun(np.ones(len(tasks), dtype=np.bool_))
        return np.stack(goals)

    together, alone = drawn(tasks), drawn(tasks[1:2])
    assert not np.array_equal(together[:, 0], together[:, 1])
    assert np.array_equal(together[:, 1], alone[:, 0])
    assert set(together[:, 2].tolist()) == set(range(5))


@pytest.mark.parametrize(
    ("tasks", "asked", "taken"),
    [
        ("reach-v3/2", 5, 2),
        ("reach-v3/2", 1, 1),
        ("reach-v3", None, 1),
        ("MT10", None, min(cores(), 10)),
        ("pendulum/5", None, 1),
        ("pendulum/5", 3, 3),
    ],
)
def test_there_are_no_more_processes_than_tasks(tasks: str, asked: int | None, taken: int) -> None:
    """Left alone, there is one process per core, but one for cheap tasks."""
    with closing(Simulators(resolve_tasks(tasks), 0, asked)) as simulators:
        assert simulators.worker_count == taken


@pytest.mark.parametrize(
    ("tasks", "workers", "saved"), [(PENDULUMS, 3, (0, 33, 199, 200, 390)), (TASKS, 2, (490, 507))]
)
def test_loaded_environments_go_on_bit_for_bit(tasks: tuple[str, ...], workers: int, saved: tuple[int, ...]) -> None:
    """In other processes, before and after an end of the episodes, every number is the uninterrupted run's."""
    shape = (max(saved) + 15, len(tasks), sizes(tasks).action)
    actions = np.random.default_rng(4).uniform(-1.0, 1.0, shape).astype(np.float32)
    with closing(Simulators(tasks, 3)) as simulators, closing(Simulators(tasks, 3, workers)) as others:
        whole = TaskEnvironments(simulators, 3)
        stood, steps, states = [whole.reset()], [], {}
        for number, action in enumerate(actions):
            if number in saved:
                states[number] = kept(whole.state_dict())
            steps.append(stepped(whole, action))
            stood.append(steps[-1].observation)
        for number, state in states.items():
            resumed = TaskEnvironments(others, 3)
            assert np.array_equal(resumed.load_state_dict(state), stood[number])
            assert str(resumed.state_dict()) == str(state)
            for step, action in zip(steps[number : number + 15], actions[number:], strict=False):
                assert all(map(np.array_equal, stepped(resumed, action), step))


def test_an_environment_that_does_not_repeat_itself_is_refused() -> None:
    """Going on from another place than the run stood at would be another run."""
    tasks = ("pendulum-1of2", "zoo.pendulums:Drifting-v0")
    with closing(Simulators(tasks, 3)) as simulators:
        environments = TaskEnvironments(simulators, 3)
        environments.reset()
        stepped(environments, np.ones((2, 1), dtype=np.float32))
        state = environments.state_dict()
        with pytest.raises(UnrepeatableError, match="Drifting-v0 came to another observation"):
            environments.load_state_dict(state)


def test_an_evaluation_between_two_steps_leaves_training_as_it_was() -> None:
    """The next episodes' goals and all that has been played stay the training's."""

    def trained(*, is_judged: bool) -> list[np.ndarray]:
        with closing(Simulators(PENDULUMS, 3, workers=2)) as simulators:
            environments = TaskEnvironments(simulators, 3)
            found = [environments.reset()]
            for number in range(210):
                if is_judged and number in (100, 199):
                    Evaluator(simulators, 2).evaluate(lambda observation: observation[:, :1], env_step=0)
                found += stepped(environments, np.full((3, 1), 0.5, dtype=np.float32))
            return found

    assert all(map(np.array_equal, trained(is_judged=False), trained(is_judged=True)))
