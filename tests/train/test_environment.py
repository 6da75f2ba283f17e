"""One Meta-World task's environment."""

from __future__ import annotations

import numpy as np
import pytest

from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE, TaskEnvironment

ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (20, ACTION_SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def reach() -> TaskEnvironment:
    """The reach task under seed 0."""
    return TaskEnvironment("reach-v3", 0)


def play(environment: TaskEnvironment, goal: int) -> tuple[np.ndarray, list[float]]:
    """Play the actions from the start of an episode; give the observations and rewards."""
    observations, rewards = [environment.reset(goal)], []
    for action in ACTIONS:
        outcome = environment.step(action)
        observations.append(outcome.observation)
        rewards.append(outcome.reward)
    return np.stack(observations), rewards


def test_a_goal_and_actions_decide_an_episode(reach: TaskEnvironment) -> None:
    """Whatever was played before, and in whichever environment, the same goal and actions give the same numbers."""
    first, rewards = play(reach, 3)
    other, _ = play(reach, 4)
    again, again_rewards = play(reach, 3)
    fresh, _ = play(TaskEnvironment("reach-v3", 0), 3)
    assert np.array_equal(first, again)
    assert np.array_equal(first, fresh)
    assert rewards == again_rewards
    assert not np.array_equal(first, other)


def test_the_goal_is_observed(reach: TaskEnvironment) -> None:
    """The last three numbers of every observation are the goal's position, in training as at the start."""
    observations, _ = play(reach, 3)
    assert observations.shape == (21, OBSERVATION_SIZE)
    assert observations[0, -3:].any()
    assert np.array_equal(observations[0, -3:], observations[-1, -3:])


def test_an_episode_is_truncated_at_its_500th_step_and_never_terminates(reach: TaskEnvironment) -> None:
    """The horizon is 500 environment steps."""
    reach.reset(0)
    outcomes = [reach.step(ACTIONS[0]) for _ in range(500)]
    assert [outcome.is_truncated for outcome in outcomes] == [False] * 499 + [True]
    assert not any(outcome.is_terminated for outcome in outcomes)
