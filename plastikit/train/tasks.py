"""Which tasks a run trains on; Meta-World's are known by name, so that asking costs no import of the simulator."""

from __future__ import annotations

import difflib
import hashlib
import importlib
from collections.abc import Sequence
from typing import Final

from plastikit.errors import ConfigurationError, MissingExtraError, UnknownNameError
from plastikit.train.parts import Part, division, part, whole

MT10: Final = (
    "reach-v3",
    "push-v3",
    "pick-place-v3",
    "door-open-v3",
    "drawer-open-v3",
    "drawer-close-v3",
    "button-press-topdown-v3",
    "peg-insert-side-v3",
    "window-open-v3",
    "window-close-v3",
)

MT25: Final = (
    *MT10,
    "coffee-pull-v3",
    "pick-out-of-hole-v3",
    "disassemble-v3",
    "pick-place-wall-v3",
    "basketball-v3",
    "stick-pull-v3",
    "button-press-wall-v3",
    "faucet-open-v3",
    "door-lock-v3",
    "lever-pull-v3",
    "sweep-into-v3",
    "faucet-close-v3",
    "coffee-button-v3",
    "button-press-topdown-wall-v3",
    "dial-turn-v3",
)

MT50: Final = (
    "assembly-v3",
    "basketball-v3",
    "bin-picking-v3",
    "box-close-v3",
    "button-press-topdown-v3",
    "button-press-topdown-wall-v3",
    "button-press-v3",
    "button-press-wall-v3",
    "coffee-button-v3",
    "coffee-pull-v3",
    "coffee-push-v3",
    "dial-turn-v3",
    "disassemble-v3",
    "door-close-v3",
    "door-lock-v3",
    "door-open-v3",
    "door-unlock-v3",
    "hand-insert-v3",
    "drawer-close-v3",
    "drawer-open-v3",
    "faucet-open-v3",
    "faucet-close-v3",
    "hammer-v3",
    "handle-press-side-v3",
    "handle-press-v3",
    "handle-pull-side-v3",
    "handle-pull-v3",
    "lever-pull-v3",
    "pick-place-wall-v3",
    "pick-out-of-hole-v3",
    "pick-place-v3",
    "plate-slide-v3",
    "plate-slide-side-v3",
    "plate-slide-back-v3",
    "plate-slide-back-side-v3",
    "peg-insert-side-v3",
    "peg-unplug-side-v3",
    "soccer-v3",
    "stick-push-v3",
    "stick-pull-v3",
    "push-v3",
    "push-wall-v3",
    "push-back-v3",
    "reach-v3",
    "reach-wall-v3",
    "shelf-place-v3",
    "sweep-into-v3",
    "sweep-v3",
    "window-open-v3",
    "window-close-v3",
)

BENCHMARKS: Final = {"MT10": MT10, "MT25": MT25, "MT50": MT50}


PENDULUM: Final = "pendulum"
"""What divides into pendulums of different gravity, mass and length, and is no task by itself."""

MOST_PARTS: Final = 50
"""Parts that a task divides into at most: one for each goal of a task of Meta-World."""


def resolve_tasks(selection: str, task_seed: int = 0) -> tuple[str, ...]:
    """Name the tasks that ``selection`` stands for, in the order of their heads and one-hot entries.

    Args:
        selection: a benchmark (``MT10``), a count (``"5"``: that many of MT50, drawn by ``task_seed``) or names with
            commas between them. A name is a task of Meta-World (``reach-v3``), one divided into parts by its goals
            (``reach-v3/4``) or a part (``reach-v3-1of4``), pendulums (``pendulum/3``), or an environment that gymnasium
            has registered or registers when a module is imported (``Hopper-v5``, ``module:Name-v0``).
        task_seed: which draw a count means. Draws of one seed are nested: 3 tasks are the first 3 of its 5.

    Raises:
        UnknownNameError: a name that stands for no task.
        ConfigurationError: no task, a task named twice, a count outside 1 to 50, or a module that cannot be imported.

    >>> resolve_tasks("push-v3, reach-v3/2")
    ('push-v3', 'reach-v3-1of2', 'reach-v3-2of2')
    >>> resolve_tasks("2", task_seed=3) == resolve_tasks("5", task_seed=3)[:2]
    True
    """
    text = selection.strip()
    if text.upper() in BENCHMARKS:
        return BENCHMARKS[text.upper()]
    if _is_whole_number(text):
        return _draw(int(text), task_seed)
    given = [name.strip() for name in text.split(",") if name.strip()]
    if not given:
        raise ConfigurationError(
            f"tasks is {selection!r}, which names none. Give MT10, MT25, MT50, a count, or names such as 'reach-v3'."
        )
    names = tuple(task for name in given for task in _expand(name, is_alone=len(given) == 1))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigurationError(f"tasks names {', '.join(repeated)} more than once. Name each task once.")
    return names


def require_simulators(tasks: Sequence[str]) -> None:
    """Fail in one line when what the tasks run in is not installed.

    Raises:
        MissingExtraError: gymnasium, or for a task of Meta-World that, cannot be imported.
    """
    for module in ("gymnasium", *(["metaworld"] if any(whole(task) in MT50 for task in tasks) else [])):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtraError.of("training", "train") from error


def _expand(name: str, *, is_alone: bool) -> tuple[str, ...]:
    """Give the tasks that one name of a selection stands for."""
    divided, own = division(name), part(name)
    if divided is not None and divided[0] in (*MT50, PENDULUM):
        count = divided[1]
        _refuse_count(name, count)
        return tuple(Part(divided[0], number, count).name for number in range(1, count + 1))
    if own is not None and own.whole in (*MT50, PENDULUM):
        _refuse_count(name, own.count)
        return (name,)
    if name in MT50:
        return (name,)
    registered = _registered(name)
    if name in registered:
        return (name,)
    known = (*MT50, f"{PENDULUM}/4", *difflib.get_close_matches(name, registered))
    raise UnknownNameError.of("task", name, (*BENCHMARKS, *known) if is_alone else known)


def _refuse_count(name: str, count: int) -> None:
    if not 1 <= count <= MOST_PARTS:
        raise ConfigurationError(
            f"{name} has {count} parts; a task divides into 1 to {MOST_PARTS}. Give such a number."
        )


def _registered(name: str) -> tuple[str, ...]:
    """Give the names of gymnasium's environments, and ``name`` if it is one of them in a module to be imported."""
    try:
        from plastikit.train.gymnasium_environment import registered, specification
    except ModuleNotFoundError:
        return ()
    return (name,) if specification(name) is not None else registered()


def _is_whole_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _draw(count: int, task_seed: int) -> tuple[str, ...]:
    if not 1 <= count <= len(MT50):
        raise ConfigurationError(f"tasks is {count}; a count must be from 1 to {len(MT50)}, the tasks of MT50.")

    # A hash orders the tasks alike on every platform and version, and makes the draws of one seed nested.
    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{task_seed}:{name}".encode()).digest()

    return tuple(sorted(MT50, key=rank)[:count])
