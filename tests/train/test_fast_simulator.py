"""Meta-World's simulators with less Python: the same numbers, from the same refusals to the same grasps."""

from __future__ import annotations

import pickle
from copy import copy
from types import FunctionType
from typing import Any

import mujoco
import numpy as np
import pytest
from benchmarks.stepping import plain_simulator
from gymnasium.envs.mujoco import MujocoEnv
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.policies import ENV_POLICY_MAP
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.types import Task

import plastikit.train.simulator
from plastikit.train.fast_simulator import FastSimulator
from plastikit.train.simulator import simulator
from plastikit.train.tasks import MT50

STATE = ("qpos", "qvel", "qacc", "qacc_warmstart", "ctrl", "mocap_pos", "mocap_quat", "xpos", "xquat", "site_xpos")
ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (40, 4)).astype(np.float32)
SCRIPTED_STEPS = 120

pytestmark = pytest.mark.filterwarnings("ignore:Constant")  # scripts ask for more than an action can be


def draw_goal(task: str, environment: SawyerXYZEnv, number: int = 0) -> Task:
    """Draw a goal as Meta-World does, by a reset."""
    environment.np_random = np.random.default_rng(number)
    environment.seeded_rand_vec, environment._freeze_rand_vec, environment._set_task_called = True, False, True
    environment.reset()
    goal = {"rand_vec": environment._last_rand_vec, "env_cls": ALL_V3_ENVIRONMENTS[task], "partially_observable": False}
    return Task(env_name=task, data=pickle.dumps(goal))


def bits(outcome: tuple[Any, ...], environment: SawyerXYZEnv) -> dict[str, bytes]:
    """Every number of a step's outcome, and of the physics behind it, with its kind."""
    observation, reward, is_terminated, is_truncated, info = outcome
    numbers = {"reward": reward, "is_terminated": is_terminated, "is_truncated": is_truncated, **info}
    found = {name: np.float64(number).tobytes() for name, number in numbers.items()}
    return found | state(environment) | {"observation": observation.dtype.str.encode() + observation.tobytes()}


def state(environment: SawyerXYZEnv) -> dict[str, bytes]:
    """Every number of the physics, and where the model has its sites."""
    found = {name: getattr(environment.data, name).tobytes() for name in STATE}
    return found | {"site_pos": environment.model.site_pos.tobytes()}


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's model is compiled for the first simulator and copied for the next, which is a third of the time here."""
    compiled, models = MujocoEnv._initialize_simulation, {}

    def copied(environment: MujocoEnv) -> tuple[mujoco.MjModel, mujoco.MjData]:
        if environment.fullpath not in models:
            models[environment.fullpath] = compiled(environment)[0]
        model = copy(models[environment.fullpath])
        return model, mujoco.MjData(model)

    monkeypatch.setattr(MujocoEnv, "_initialize_simulation", copied)


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("task", MT50)
def test_every_number_is_meta_worlds_own(task: str) -> None:
    """By chance and by its script, with one goal and another, a task goes as in Meta-World bit for bit."""
    wanted, found = plain_simulator(task), simulator(task)
    assert isinstance(found, FastSimulator)
    script = ENV_POLICY_MAP[task]()  # type: ignore[abstract]
    rounds: list[list[Any]] = [list(ACTIONS), [None] * SCRIPTED_STEPS]
    for number, actions in enumerate(rounds):
        for environment in (wanted, found):
            environment.set_task(draw_goal(task, environment, number))
        observation = wanted.reset()[0]
        assert found.reset()[0].tobytes() == observation.tobytes()
        assert state(found) == state(wanted)
        for chosen in actions:
            meant = script.get_action(observation) if chosen is None else chosen
            action = np.clip(meant, -1.0, 1.0).astype(np.float32)
            outcome = wanted.step(action)
            assert bits(found.step(action), found) == bits(outcome, wanted)
            observation = outcome[0]


def test_both_pads_press_on_what_is_grasped() -> None:
    """Touching is noticed where Meta-World notices it, which is nowhere before the grasp."""
    environment, script = simulator("pick-place-v3"), ENV_POLICY_MAP["pick-place-v3"]()  # type: ignore[abstract]
    environment.set_task(draw_goal("pick-place-v3", environment))
    observation, touches = environment.reset()[0], []
    for _ in range(60):
        observation = environment.step(np.clip(script.get_action(observation), -1.0, 1.0).astype(np.float32))[0]
        touches.append(environment.touching_main_object)
        assert touches[-1] == SawyerXYZEnv.touching_object(environment, environment._get_id_main_object())
    assert not touches[0]
    assert touches[-1]


def test_no_task_has_methods_of_its_own_where_these_stand() -> None:
    """All tasks inherit from the common class what is replaced, and the three that move the hand otherwise call it."""
    replaced = [name for name, value in vars(FastSimulator).items() if isinstance(value, (FunctionType, property))]
    assert {"step", "reset", "tcp_center", "touching_object"} < set(replaced)
    own = {
        (task, name)
        for task, kind in ALL_V3_ENVIRONMENTS.items()
        for name in replaced
        if getattr(kind, name) is not getattr(SawyerXYZEnv, name)
    }
    assert own == {(task, "_reset_hand") for task in ("faucet-open-v3", "faucet-close-v3", "window-close-v3")}


def test_another_version_of_meta_world_steps_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the installed methods may be others than were compared, none is replaced."""
    monkeypatch.setattr(plastikit.train.simulator, "version", lambda name: {"metaworld": "3.2.0"}[name])
    assert type(simulator("reach-v3")) is ALL_V3_ENVIRONMENTS["reach-v3"]


def test_what_meta_world_refuses_is_refused() -> None:
    """Stepping without a goal, with an action of another size or past the end of an episode raises what it raises."""
    environment = simulator("reach-v3")
    with pytest.raises(RuntimeError, match="set_task"):
        environment.step(ACTIONS[0])
    environment.set_task(draw_goal("reach-v3", environment))
    environment.reset()
    with pytest.raises(AssertionError, match="size 4, got 3"):
        environment.step(ACTIONS[0, :3])
    environment.curr_path_length = environment.max_path_length
    with pytest.raises(ValueError, match="reset"):
        environment.step(ACTIONS[0])
