"""The facts that plastikit leans on from other packages, so that an upgrade that breaks one says which.

Meta-World and gymnasium: what the trainer relies on, and the traps that it goes around.
"""

from __future__ import annotations

import importlib.metadata
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import gymnasium
import metaworld
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from metaworld import env_dict
from metaworld.env_dict import ALL_V3_ENVIRONMENTS, MT10_V3, MT25_V3, MT50_V3
from metaworld.policies import ENV_POLICY_MAP
from metaworld.types import Task

from plastikit.train.tasks import MT10, MT25, MT50

PAIR = ["reach-v3", "drawer-close-v3"]
UNTOUCHED_GOALS = metaworld._N_GOALS
STILL = np.zeros((2, 4), dtype=np.float32)


def make_pair(**options: Any) -> SyncVectorEnv:
    """Two tasks as gymnasium makes them, with few goals, since each is drawn by a full reset."""
    made = gymnasium.make_vec("Meta-World/custom-mt-envs", vector_strategy="sync", envs_list=PAIR, **options)
    assert isinstance(made, SyncVectorEnv)
    return made


@pytest.fixture(scope="module")
def few_goals() -> Iterator[None]:
    """Five goals a task instead of fifty: the wait for them is most of the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metaworld, "_N_GOALS", 5)
        yield


@pytest.fixture(scope="module")
def pair(few_goals: None) -> Iterator[SyncVectorEnv]:
    """Two tasks under seed 1."""
    made = make_pair(seed=1)
    yield made
    made.close()


def goal_vectors(environments: SyncVectorEnv, row: int) -> list[bytes]:
    """The goals that a task's environment was given."""
    return [task.data for task in environments.envs[row].get_wrapper_attr("tasks")]


def drawn_goals(environments: SyncVectorEnv, row: int, *, resets: int) -> list[int]:
    """Which of its goals a task's environment takes at each of several resets."""
    environment = environments.envs[row]
    goals = [task.data for task in environment.get_wrapper_attr("tasks")]
    taken = []
    set_task = environment.unwrapped.set_task  # type: ignore[attr-defined]

    def noted(task: Task) -> None:
        taken.append(goals.index(task.data))
        set_task(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment.unwrapped, "set_task", noted)
        for _ in range(resets):
            environment.reset(seed=7)
    return taken


def test_a_custom_list_takes_any_tasks_and_resets_within_the_step(pair: SyncVectorEnv) -> None:
    """Any subset of tasks makes a vector environment whose autoreset is SAME_STEP."""
    assert pair.num_envs == 2
    assert pair.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_a_custom_list_rejects_a_number_of_goals(few_goals: None) -> None:
    """The option that the benchmarks take is unknown here."""
    with pytest.raises(TypeError, match="num_goals"):
        make_pair(seed=1, num_goals=3)


def test_seed_0_is_taken_as_none(few_goals: None, pair: SyncVectorEnv) -> None:
    """Under seed 0 the first task's goals come from NumPy's global state; any other seed decides them."""
    again, zero, also_zero = (make_pair(seed=seed) for seed in (1, 0, 0))
    assert goal_vectors(again, 0) == goal_vectors(pair, 0)
    assert goal_vectors(zero, 0) != goal_vectors(also_zero, 0)


def test_mt1_resets_at_the_next_step_and_fails_with_a_one_hot(few_goals: None) -> None:
    """MT1 differs from the other benchmarks in both, which is why no run uses it."""
    made = gymnasium.make_vec("Meta-World/MT1", env_name="reach-v3", seed=1)
    assert made.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    with pytest.raises(AssertionError, match="env_id"):
        gymnasium.make_vec("Meta-World/MT1", env_name="reach-v3", seed=1, use_one_hot=True)


def test_a_number_of_goals_stays_for_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One benchmark's ``num_goals`` is what later ones get without asking."""
    monkeypatch.setattr(metaworld, "_N_GOALS", 50)  # put back at the end
    gymnasium.make_vec("Meta-World/MT1", env_name="reach-v3", seed=1, num_goals=2)
    assert len(metaworld.MT1("reach-v3", seed=1).train_tasks) == 2


def test_a_task_has_fifty_different_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, a benchmark draws 50 goals for each task."""
    assert UNTOUCHED_GOALS == 50
    monkeypatch.setattr(metaworld, "_N_GOALS", UNTOUCHED_GOALS)
    assert len({task.data for task in metaworld.MT1("reach-v3", seed=1).train_tasks}) == 50


def test_one_seed_gives_every_task_of_a_benchmark_the_same_sequence(
    few_goals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In MT10 the tasks draw their goals in step, so tasks must be seeded apart."""
    subset = OrderedDict((task, MT10_V3[task]) for task in PAIR)
    monkeypatch.setattr(env_dict, "MT10_V3", subset)
    arguments = {task: env_dict.MT10_V3_ARGS_KWARGS[task] for task in PAIR}
    monkeypatch.setattr(env_dict, "MT10_V3_ARGS_KWARGS", arguments)
    made = gymnasium.make_vec("Meta-World/MT10", seed=3)
    assert isinstance(made, SyncVectorEnv)
    assert drawn_goals(made, 0, resets=12) == drawn_goals(made, 1, resets=12)


def test_resetting_with_a_seed_does_not_seed_the_goals(pair: SyncVectorEnv) -> None:
    """The goals go on in their sequence, whatever seed a reset is given."""
    assert len(set(drawn_goals(pair, 0, resets=12))) > 1


def test_endings_at_different_times_leave_none_among_the_final_observations(pair: SyncVectorEnv) -> None:
    """Stacking ``final_obs`` fails as soon as one task ends alone."""
    pair.reset()
    pair.envs[0].unwrapped.curr_path_length = 499  # type: ignore[attr-defined]
    _, _, terminations, truncations, info = pair.step(STILL)
    assert truncations.tolist() == [True, False]
    assert not terminations.any()
    assert info["final_obs"].dtype == object
    assert info["final_obs"][1] is None
    with pytest.raises(ValueError, match="same shape"):
        np.stack(info["final_obs"])


def test_an_environment_never_terminates_and_raises_after_its_500th_step(pair: SyncVectorEnv) -> None:
    """It truncates at the horizon, and a step beyond is an error."""
    environment = pair.envs[0].unwrapped
    assert environment.max_path_length == 500  # type: ignore[attr-defined]
    pair.envs[0].reset()
    endings = [environment.step(STILL[0])[2:4] for _ in range(500)]
    assert endings == [(False, False)] * 499 + [(False, True)]
    with pytest.raises(ValueError, match="reset"):
        environment.step(STILL[0])


def test_a_seeded_environment_draws_goals_without_numpys_global_state() -> None:
    """``seeded_rand_vec`` makes a goal depend on the environment's own generator alone."""
    environment = ALL_V3_ENVIRONMENTS["reach-v3"]()
    environment.seeded_rand_vec = True
    environment._freeze_rand_vec = False
    environment._set_task_called = True
    drawn: list[Any] = []
    for _ in range(2):
        environment.np_random = np.random.default_rng(5)
        environment.reset()
        drawn.append(environment._last_rand_vec)
    assert np.array_equal(*drawn)


def test_the_benchmarks_hold_the_tasks_that_plastikit_names() -> None:
    """MT10 lies in MT25, which lies in MT50, in Meta-World's order."""
    assert (tuple(MT10_V3), tuple(MT25_V3), tuple(MT50_V3)) == (MT10, MT25, MT50)
    assert set(MT10) < set(MT25) < set(MT50)
    assert len(MT50) == 50


def test_every_task_has_a_scripted_policy() -> None:
    """``metaworld.policies`` solves each of the 50 tasks by hand-written rules."""
    assert set(ENV_POLICY_MAP) == set(MT50)


def test_there_are_two_reward_versions_and_a_third_is_taken_for_v1(pair: SyncVectorEnv) -> None:
    """Any name but v2 silently gives the v1 reward, so the version must be set, and recorded, by us."""
    rewards = {}
    for version in ("v1", "v2", "v3"):
        environment = ALL_V3_ENVIRONMENTS["reach-v3"](reward_function_version=version)
        environment.set_task(pair.envs[0].get_wrapper_attr("tasks")[0])
        environment.reset()
        rewards[version] = environment.step(STILL[0])[1]
        environment.close()
    assert rewards["v3"] == rewards["v1"] != rewards["v2"]


def test_observations_and_actions_have_the_published_sizes(pair: SyncVectorEnv) -> None:
    """39 numbers are seen and 4 are chosen, each within -1 and 1."""
    assert pair.single_observation_space.shape == (39,)
    assert pair.single_action_space.shape == (4,)
    assert pair.single_action_space.low.min() == -1.0  # type: ignore[attr-defined]
    assert pair.single_action_space.high.max() == 1.0  # type: ignore[attr-defined]


def test_metaworld_pins_mujoco_exactly() -> None:
    """Why the simulator is an extra: whoever only attaches probes must not inherit the pin."""
    requirements = importlib.metadata.requires("metaworld") or []
    assert any(line.replace(" ", "").startswith("mujoco==") for line in requirements)
