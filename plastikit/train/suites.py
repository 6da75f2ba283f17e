"""What the names of tasks stand for: Meta-World's tasks and their parts, pendulums, gymnasium's environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from plastikit.errors import ConfigurationError
from plastikit.train.config import GOALS_PER_TASK, HORIZON, REWARD_VERSION
from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE, Environment, TaskEnvironment
from plastikit.train.parts import part, whole
from plastikit.train.tasks import MT50, PENDULUM, unknown_task

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.spaces import Box

    from plastikit.train.gymnasium_environment import Spaces

Value = TypeVar("Value")

METAWORLD: Final = "Meta-World v3"
GYMNASIUM: Final = "gymnasium"


class Sizes(NamedTuple):
    """How many numbers every task observes and is given."""

    observation: int
    action: int


def metaworld_task(task: str) -> str | None:
    """Give the task of Meta-World that ``task`` is, or is a part of; None where it is another suite's.

    >>> metaworld_task("reach-v3-1of4"), metaworld_task("pendulum-1of4")
    ('reach-v3', None)
    """
    return whole(task) if whole(task) in MT50 else None


def goal_count(task: str) -> int:
    """How many goals a task has: 50, but for a part of a task of Meta-World, which has its share of them.

    >>> [goal_count(f"reach-v3-{number}of4") for number in (1, 2, 3, 4)]
    [12, 13, 12, 13]
    """
    found = part(task)
    if found is None or metaworld_task(task) is None:
        return GOALS_PER_TASK
    return len(found.share(range(GOALS_PER_TASK)))


def maker(task: str, seed: int) -> Callable[[], Environment]:
    """Give what makes a task's environment, here or, pickled, in another process.

    Raises:
        UnknownNameError: no suite knows the task.
    """
    if metaworld_task(task) is not None:
        return partial(TaskEnvironment, task, seed)
    from plastikit.train.gymnasium_environment import Maker

    return Maker(_specification(task), task, seed)


def sizes(tasks: Sequence[str]) -> Sizes:
    """Give the sizes of the tasks' observations and actions, which must be equal.

    Meta-World's are known without making one; of gymnasium's every environment is made once.

    Raises:
        ConfigurationError: the tasks' spaces differ, or cannot be trained on.
        UnknownNameError: no suite knows a task.
    """
    if all(metaworld_task(task) is not None for task in tasks):
        return Sizes(OBSERVATION_SIZE, ACTION_SIZE)
    found = {task: _spaces(task) for task in tasks}
    for name in ("observation", "action"):
        boxes = {task: getattr(spaces, name) for task, spaces in found.items()}
        _refuse_different(name, boxes)
    observation, action = next(iter(found.values()))
    return Sizes(observation.shape[0], action.shape[0])


def attributes(tasks: Sequence[str]) -> dict[str, Any]:
    """Say what the tasks are, as a run's record keeps it: once what all have in common, else task by task."""
    return {
        "suite": " + ".join(dict.fromkeys(map(_suite, tasks))),
        **({"reward_version": REWARD_VERSION} if METAWORLD in map(_suite, tasks) else {}),
        "horizon": _once([_horizon(task) for task in tasks]),
        "goals_per_task": _once([goal_count(task) for task in tasks]),
    }


def _suite(task: str) -> str:
    if metaworld_task(task) is not None:
        return METAWORLD
    return PENDULUM if whole(task) == PENDULUM else GYMNASIUM


def _horizon(task: str) -> int:
    if metaworld_task(task) is not None:
        return HORIZON
    from plastikit.train.gymnasium_environment import horizon

    return horizon(_specification(task))


def _refuse_different(name: str, boxes: dict[str, Box]) -> None:
    from plastikit.train.gymnasium_environment import text

    owners: dict[tuple[bytes, bytes], list[str]] = {}
    for task, box in boxes.items():
        owners.setdefault((box.low.tobytes(), box.high.tobytes()), []).append(task)
    if len(owners) > 1:
        listed = "; ".join(f"{', '.join(tasks)}: {text(boxes[tasks[0]])}" for tasks in owners.values())
        raise ConfigurationError(
            f"the tasks' {name} spaces differ ({listed}); one network trains on equal ones only. Leave out the tasks "
            "whose space is another."
        )


def _spaces(task: str) -> Spaces:
    from gymnasium.spaces import Box

    from plastikit.train.gymnasium_environment import Spaces, spaces

    if metaworld_task(task) is not None:
        return Spaces(Box(-float("inf"), float("inf"), (OBSERVATION_SIZE,)), Box(-1.0, 1.0, (ACTION_SIZE,)))
    return spaces(task, _specification(task))


def _specification(task: str) -> EnvSpec:
    from plastikit.train.gymnasium_environment import registered, specification

    found = specification(task)
    if found is None:
        raise unknown_task(task, (*MT50, *registered()))
    return found


def _once(values: list[Value]) -> Value | list[Value]:
    return values[0] if all(value == values[0] for value in values) else values
