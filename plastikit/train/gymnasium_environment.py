"""One environment of gymnasium's, made from its specification, with actions in [-1, 1]."""

from __future__ import annotations

import importlib
import pickle
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Space
from gymnasium.wrappers import RescaleAction, TransformAction
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.errors import ConfigurationError
from plastikit.train.config import HORIZON
from plastikit.train.environment import FloatArray, TaskStep
from plastikit.train.parts import part
from plastikit.train.randomness import seed_sequence
from plastikit.train.tasks import PENDULUM

_SCRIPT: Final = (b"__main__", b"__mp_main__")
"""What the module is called, pickled, that a process began with."""

_MODULE: Final = re.compile(r"[^\s;.][^\s;]*")

PENDULUM_HORIZON: Final = 200
"""Steps after which gymnasium's pendulum is truncated."""


class Spaces(NamedTuple):
    """What an environment observes and is given."""

    observation: Box
    action: Box


class GymnasiumEnvironment:
    """An environment of gymnasium's: the number of an episode's goal decides, with seed and task, what its reset draws.

    Success is what a step's ``info`` says under ``success`` or ``is_success``.
    """

    def __init__(self, specification: EnvSpec, task: str, seed: int) -> None:
        self._task = task
        self._seed = seed
        environment = _made(specification)
        box = _flat(task, "action", environment.action_space)
        # Rescaling may pass a bound by the last bit.
        bounded = TransformAction(environment, partial(np.clip, a_min=box.low, a_max=box.high), box)
        self._environment: gymnasium.Env[Any, Any] = RescaleAction(bounded, np.float32(-1.0), np.float32(1.0))

    def reset(self, goal: int) -> Float[FloatArray, "feature"]:
        """Begin the episode that ``goal`` seeds."""
        seeds = seed_sequence(self._seed, "resets", self._task, str(goal)).generate_state(1)
        observation: FloatArray = self._environment.reset(seed=int(seeds[0]))[0]
        return observation

    def step(self, action: Float[NDArray[np.float32], "action"]) -> TaskStep:
        """Take one action, of numbers in [-1, 1] that stand for the lowest and the highest."""
        observation, reward, is_terminated, is_truncated, info = self._environment.step(action)
        told = info.get("success", info.get("is_success"))
        is_success = None if told is None else bool(told)
        return TaskStep(observation, float(reward), bool(is_terminated), bool(is_truncated), is_success)

    def close(self) -> None:
        """Release the environment."""
        self._environment.close()


@dataclass(frozen=True)
class Maker:
    """Makes a task's environment, here or, pickled, in another process."""

    specification: EnvSpec
    task: str
    seed: int

    def __call__(self) -> GymnasiumEnvironment:
        """Make it."""
        return GymnasiumEnvironment(self.specification, self.task, self.seed)

    def __getstate__(self) -> dict[str, Any]:
        """Give what is pickled.

        Raises:
            ConfigurationError: it cannot be pickled, or is the script's own, which other processes do not run.
        """
        try:
            told = pickle.dumps(self.specification)
        except Exception as error:
            raise ConfigurationError(
                f"what makes {self.task} cannot be sent to another process ({_cause(error)}). Let it be a class or "
                f"function that a module holds by name, and name the task with that module, module:{_own(self.task)}; "
                "or step in the run's own process, with workers=1."
            ) from error
        if any(name in told for name in _SCRIPT):
            raise ConfigurationError(
                f"{self.task} is made by what the script itself defines, and the processes that step environments do "
                "not run it. Define and register it in a module, and name it with that module, "
                f"module:{_own(self.task)}; or step in the run's own process, with workers=1."
            )
        return vars(self)


def specification(task: str) -> EnvSpec | None:
    """Give what makes the task's environment; None where gymnasium knows none of the name.

    ``module:Id-v0`` imports the module first, which is to register the environment.

    Raises:
        ConfigurationError: the module cannot be imported, or is not named as an import names it.
    """
    variant = part(task)
    if variant is not None and variant.whole == PENDULUM:
        return EnvSpec(
            task,
            entry_point="plastikit.train.pendulum:Pendulum",
            max_episode_steps=PENDULUM_HORIZON,
            kwargs={"number": variant.number, "count": variant.count},
        )
    module, colon, name = task.rpartition(":")
    if colon:
        if not _MODULE.fullmatch(module):
            raise ConfigurationError(
                f"the task {task!r} names the module {module!r}; its absolute name was expected, as an import has it. "
                f"Write the task as module:{name}, and commas between tasks."
            )
        try:
            importlib.import_module(module)
        except Exception as error:
            raise ConfigurationError(
                f"the task {task!r} names the module {module!r}, which cannot be imported ({_cause(error)}). Name one "
                "that lies on Python's path, registers the environment, and can be imported without an error."
            ) from error
    return gymnasium.registry.get(name)


def registered() -> tuple[str, ...]:
    """Give the names of the environments that gymnasium knows now."""
    return tuple(gymnasium.registry)


def spaces(task: str, specification: EnvSpec) -> Spaces:
    """Give an environment's spaces, as float32; they must be flat boxes of floats, the actions' bounded.

    Raises:
        ConfigurationError: they are not, or the environment cannot be made.
    """
    try:
        environment = _made(specification)
        found: dict[str, Space[Any]] = {
            "observation": environment.observation_space,
            "action": environment.action_space,
        }
        environment.close()
    except Exception as error:
        raise ConfigurationError(
            f"the environment of the task {task!r}, registered with the entry point {specification.entry_point}, "
            f"cannot be made and asked for its spaces ({_cause(error)}). Mend it, or what it is registered with, until "
            "gymnasium.make makes it."
        ) from error
    boxes = {name: _flat(task, name, space) for name, space in found.items()}
    action = boxes["action"]
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all() and (action.low < action.high).all()):
        raise ConfigurationError(
            f"the action space of {task} is {text(action)}; every action needs a lowest and a highest value, since "
            "the policy's [-1, 1] stands for them. Bound it, as with gymnasium's RescaleAction."
        )
    return Spaces(**boxes)


def horizon(specification: EnvSpec) -> int:
    """Give the steps after which an episode is truncated: the environment's own, else 500."""
    return specification.max_episode_steps or HORIZON


def text(space: Space[Any]) -> str:
    """Give a space on one line."""
    return " ".join(repr(space).split())


def _own(task: str) -> str:
    return task.rpartition(":")[2]


def _cause(error: Exception) -> str:
    """Give an error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _made(specification: EnvSpec) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(specification, max_episode_steps=horizon(specification), disable_env_checker=True)


def _flat(task: str, name: str, space: Space[Any]) -> Box:
    if not isinstance(space, Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise ConfigurationError(
            f"the {name} space of {task} is {text(space)}; a Box of floats along one axis was expected. Choose another "
            "environment, or register it with a wrapper that makes it one."
        )
    with np.errstate(over="ignore"):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
