"""What the names of tasks stand for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import zoo.pendulums  # noqa: F401  registers what the tests name
from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.environment import TaskEnvironment
from plastikit.train.gymnasium_environment import GymnasiumEnvironment
from plastikit.train.suites import attributes, goal_count, maker, metaworld_task, sizes


def test_meta_worlds_sizes_are_known_without_it() -> None:
    """They hold for parts too."""
    assert sizes(("reach-v3", "push-v3-2of4")) == (39, 4)


def test_sizes_are_those_of_equal_spaces() -> None:
    """What an environment is called, and as what floats it observes, does not matter."""
    assert sizes(("Pendulum-v1", "pendulum-1of2", "zoo.pendulums:Falling-v0", "Double-v0")) == (3, 1)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (
            ("Pendulum-v1", "Strong-v0", "pendulum-1of2"),
            ["action", "Pendulum-v1, pendulum-1of2: Box(-2.0, 2.0", "Strong-v0: Box(-4.0"],
        ),
        (
            ("reach-v3", "Pendulum-v1"),
            ["observation", "reach-v3: Box(-inf, inf, (39,)", "Pendulum-v1: Box([-1. -1. -8.]"],
        ),
    ],
)
def test_different_spaces_are_named_with_their_tasks(tasks: tuple[str, ...], words: list[str]) -> None:
    """One line says which task has which space."""
    with pytest.raises(ConfigurationError) as caught:
        sizes(tasks)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_part_has_its_share_of_the_goals() -> None:
    """All others have fifty."""
    assert [goal_count(task) for task in ("reach-v3", "Pendulum-v1", "pendulum-1of2")] == [50, 50, 50]
    assert sum(goal_count(f"reach-v3-{number}of7") for number in range(1, 8)) == 50
    assert [metaworld_task(task) for task in ("push-v3-1of2", "push-v3", "Pendulum-v1")] == ["push-v3", "push-v3", None]


def test_makers_can_be_sent_to_other_processes() -> None:
    """What comes out of them is the suite's own kind of environment."""
    kinds = [type(pickle.loads(pickle.dumps(maker(task, 0)))()) for task in ("reach-v3-1of4", "Falling-v0")]
    assert kinds == [TaskEnvironment, GymnasiumEnvironment]
    with pytest.raises(UnknownNameError, match=r"Did you mean .*Pendulum-v1.* module:Pendulum-v8"):
        maker("Pendulum-v8", 0)


def test_a_record_says_what_the_tasks_are() -> None:
    """What all have in common stands once."""
    assert attributes(("pendulum-1of2", "Falling-v0")) == {
        "suite": "pendulum + gymnasium",
        "horizon": [200, 500],
        "goals_per_task": 50,
    }
    assert attributes(("reach-v3-1of2", "reach-v3-2of2")) == {
        "suite": "Meta-World v3",
        "reward_version": "v2",
        "horizon": 500,
        "goals_per_task": 25,
    }


def test_parts_of_a_task_own_its_goals_between_them() -> None:
    """Every goal of the task begins episodes of one part only, and parts are neighbours in height for reach."""

    def begun(task: str) -> np.ndarray:
        made = TaskEnvironment(task, 0)
        return np.stack([made.reset(goal)[-3:] for goal in range(goal_count(task))])

    parts = [begun(f"reach-v3-{number}of3") for number in (1, 2, 3)]
    together, whole = np.concatenate(parts), begun("reach-v3")
    assert np.array_equal(np.sort(together, axis=0), np.sort(whole, axis=0))
    assert len(np.unique(together, axis=0)) == 50
    heights = [part[:, 2] for part in parts]
    assert heights[0].max() < heights[1].min() <= heights[1].max() < heights[2].min()
