"""How well a policy does."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest
import torch
from metaworld.policies import ENV_POLICY_MAP

from plastikit.train.environment import TaskEnvironment
from plastikit.train.evaluate import Evaluation, Evaluator
from plastikit.train.workers import Simulators
from zoo.pendulums import swing_up

TASKS = ("reach-v3", "drawer-close-v3")
PENDULUMS = ("pendulum-1of2", "pendulum-2of2")


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    """Two tasks, three episodes each."""
    with closing(Simulators(TASKS, seed=0)) as simulators:
        yield Evaluator(simulators, episodes=3)


@pytest.fixture(scope="module")
def light() -> Iterator[Evaluator]:
    """Two pendulums, four episodes each."""
    with closing(Simulators(PENDULUMS, seed=0)) as simulators:
        yield Evaluator(simulators, episodes=4)


def scripted(tasks: tuple[str, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Meta-World's own policies, which solve the tasks."""
    policies = [ENV_POLICY_MAP[task]() for task in tasks]  # type: ignore[abstract]

    def act(observation: np.ndarray) -> np.ndarray:
        actions = [policy.get_action(row.astype(np.float64)) for policy, row in zip(policies, observation, strict=True)]
        return np.clip(np.stack(actions), -1.0, 1.0).astype(np.float32)

    return act


def test_policies_that_solve_the_tasks_succeed(evaluator: Evaluator) -> None:
    """Meta-World's scripted policies reach success in every episode."""
    evaluation = evaluator.evaluate(scripted(TASKS), env_step=5)
    assert evaluation.success_rate == {"reach-v3": 1.0, "drawer-close-v3": 1.0}
    assert evaluation.mean_success_rate == 1.0
    assert evaluation.env_step == 5


def test_results_equal_episodes_played_one_at_a_time(evaluator: Evaluator) -> None:
    """Playing the tasks side by side gives each task's own success and return, over goals 0, 1, 2, ended at success."""
    evaluation = evaluator.evaluate(scripted(TASKS), env_step=0)
    for task in TASKS:
        environment, policy = TaskEnvironment(task, 0), scripted((task,))
        returns = []
        for goal in range(3):
            observation, rewards, is_over = environment.reset(goal), [], False
            while not is_over:
                outcome = environment.step(policy(observation[None].astype(np.float32))[0])
                observation, is_over = outcome.observation, outcome.is_success or outcome.is_truncated
                rewards.append(outcome.reward)
            returns.append(sum(rewards))
        assert evaluation.episode_return[task] == pytest.approx(float(np.mean(returns)))


def test_the_same_policy_gets_the_same_answer_and_no_random_state_moves(light: Evaluator) -> None:
    """An evaluation draws nothing, so it can be repeated and disturbs no training."""
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state(legacy=False)["state"]["key"].copy()
    first = light.evaluate(swing_up(2), env_step=0)
    assert light.evaluate(swing_up(2), env_step=0) == first
    assert torch.equal(torch.get_rng_state(), torch_before)
    now = np.random.get_state(legacy=False)["state"]["key"]
    assert np.array_equal(now, numpy_before)


def test_processes_that_step_change_no_number(light: Evaluator) -> None:
    """Two processes give what one gives, bit for bit."""
    with closing(Simulators(PENDULUMS, seed=0, workers=2)) as simulators:
        apart = Evaluator(simulators, episodes=4).evaluate(swing_up(2), env_step=0)
    assert apart == light.evaluate(swing_up(2), env_step=0)
    assert apart.success_rate == {"pendulum-1of2": 1.0, "pendulum-2of2": 1.0}


def test_a_policy_that_stands_still_fails_at_the_horizon(light: Evaluator) -> None:
    """Nothing is solved by chance within 200 steps of no torque."""
    calls = 0

    def stand(observation: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.zeros((len(observation), 1), dtype=np.float32)

    evaluation = light.evaluate(stand, env_step=0)
    assert evaluation.mean_success_rate == 0.0
    assert calls == 4 * 200


def test_success_that_no_environment_tells_is_not_measured() -> None:
    """It is NaN, not 0, and so is the mean over tasks of which one does not tell; no warning is given."""
    tasks = ("Pendulum-v1", "pendulum-1of1")
    with closing(Simulators(tasks, seed=0)) as simulators, warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation = Evaluator(simulators, episodes=1).evaluate(lambda observation: observation[:, :1], env_step=0)
        assert math.isnan(evaluation.success_rate["Pendulum-v1"])
        assert math.isnan(evaluation.mean_success_rate)
    assert evaluation.success_rate["pendulum-1of1"] == 0.0
    assert all(map(math.isfinite, evaluation.episode_return.values()))


def test_a_part_is_judged_on_its_own_goals() -> None:
    """Twice the five goals of a tenth of reach give ten episodes, of which five and five are alike."""
    begun: list[bytes] = []

    def note(observation: np.ndarray) -> np.ndarray:
        begun.append(observation[0, -3:].tobytes())
        return policy(observation)

    policy = scripted(("reach-v3",))
    with closing(Simulators(("reach-v3-4of10",), seed=0)) as simulators:
        evaluation = Evaluator(simulators, episodes=10).evaluate(note, env_step=0)
    assert evaluation.success_rate == {"reach-v3-4of10": 1.0}
    goals = [goal for goal, _ in itertools.groupby(begun)]
    assert goals[:5] == goals[5:]
    assert len(set(goals)) == 5


def test_success_is_averaged_over_tasks() -> None:
    """Every task weighs the same."""
    evaluation = Evaluation(env_step=1, success_rate={"a": 1.0, "b": 0.5}, episode_return={"a": 0.0, "b": 0.0})
    assert evaluation.mean_success_rate == 0.75
