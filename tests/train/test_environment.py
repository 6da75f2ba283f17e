"""One Meta-World task's environment."""

from __future__ import annotations

import numpy as np
import pytest
from metaworld.policies import ENV_POLICY_MAP

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


@pytest.mark.parametrize("task", ["door-open-v3", "stick-pull-v3", "basketball-v3"])
def test_an_episode_does_not_depend_on_what_the_one_before_moved(task: str) -> None:
    """After its script has moved things about, an environment begins and goes on as a fresh one."""
    used, script = TaskEnvironment(task, 0), ENV_POLICY_MAP[task]()  # type: ignore[abstract]
    observation, moves = used.reset(4), []
    for _ in range(120):
        moves.append(np.clip(script.get_action(observation), -1.0, 1.0).astype(np.float32))
        observation = used.step(moves[-1]).observation
    fresh = TaskEnvironment(task, 0)
    assert np.array_equal(used.reset(3), fresh.reset(3))
    for move in (*moves, *ACTIONS):
        found, wanted = used.step(move), fresh.step(move)
        assert np.array_equal(found.observation, wanted.observation)
        assert found[1:] == wanted[1:]


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
