"""Which tasks a run trains on; Meta-World's are known by name, so that asking costs no import of the simulator."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import re
from collections.abc import Sequence
from typing import Final

from plastikit.errors import ConfigurationError, MissingExtraError, UnknownNameError
from plastikit.train.parts import parts_named, whole

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

_DIVISIBLE: Final = frozenset((*MT50, PENDULUM))
_DIVISION: Final = re.compile(r"(.+)(/\d+|-\d+of\d+)")
_IDENTIFIER: Final = re.compile(r"[\w/-]+-v\d+")
"""What an environment of gymnasium's is usually called."""
_NEAR: Final = 0.8
"""How alike a misspelt task and the one that was meant are at least."""


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
        ConfigurationError: no task, a task named twice, a count outside 1 to 50, a part that there is not, or a module
            that cannot be imported.
        MissingExtraError: gymnasium, which an environment of a module is to be registered with, is not installed.

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
    if len(given) > 1:
        _refuse_sets(selection, given)
    names = tuple(task for name in given for task in _expand(name, is_alone=len(given) == 1))
    # The module in front of an environment's name says where it is registered, not which it is.
    registered = [name.rpartition(":")[2] for name in names]
    repeated = sorted({name for name in registered if registered.count(name) > 1})
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


def unknown_task(name: str, known: Sequence[str]) -> UnknownNameError:
    """Give the error of a name that stands for no task: the nearest of ``known``, and how one's own is named."""
    module, colon, own = name.rpartition(":")
    if colon:
        return UnknownNameError(
            f"unknown task {name!r}: the module {module} was imported, and registers no {own!r} with gymnasium. Name "
            "an environment that it registers."
        )
    if re.search(r"[\s;]", name):
        return UnknownNameError(
            f"unknown task {name!r}. No blank or semicolon stands in a name, and commas separate names, as in "
            "reach-v3,push-v3."
        )
    error = UnknownNameError.of("task", name, known)
    if not _IDENTIFIER.fullmatch(name) or difflib.get_close_matches(name, _DIVISIBLE, cutoff=_NEAR):
        return error
    return UnknownNameError(
        f"{error} An environment of your own is named with the module that registers it, module:{name}, so that every "
        "process finds it."
    )


def _expand(name: str, *, is_alone: bool) -> tuple[str, ...]:
    """Give the tasks that one name of a selection stands for."""
    if name in MT50:
        return (name,)
    parts = parts_named(name, _DIVISIBLE)
    if parts is not None:
        return parts
    registered = _registered(name)
    if name in registered:
        return (name,)
    _refuse_division(name, registered)
    known = (*MT50, f"{PENDULUM}/4", *difflib.get_close_matches(name, registered))
    raise unknown_task(name, (*BENCHMARKS, *known) if is_alone else known)


def _refuse_sets(selection: str, given: Sequence[str]) -> None:
    """Refuse a benchmark or a count among names."""
    for name in given:
        if name.upper() in BENCHMARKS or _is_whole_number(name):
            raise ConfigurationError(
                f"tasks is {selection!r}, in which {name} stands for a set of tasks; beside others the name of "
                "one was expected. Give the set by itself, or name each task."
            )


def _refuse_division(name: str, registered: Sequence[str]) -> None:
    """Refuse to divide what has no parts."""
    match = _DIVISION.fullmatch(name)
    if match is None:
        return
    divided, how = match.groups()
    if divided.upper() in BENCHMARKS:
        what = f"a suite of {len(BENCHMARKS[divided.upper()])} tasks"
    elif _is_whole_number(divided):
        what = "a count of tasks"
    elif divided in registered or _registered(divided) == (divided,):
        what = "an environment of gymnasium"
    else:
        raise UnknownNameError.of("task", name, [f"{task}{how}" for task in _DIVISIBLE])
    raise ConfigurationError(
        f"{name} divides {divided}, {what}, which cannot be divided; a task of Meta-World can, as reach-v3/2, and so "
        f"can pendulums, as {PENDULUM}/2. Name one of these, or {divided} as it is."
    )


def _registered(name: str) -> tuple[str, ...]:
    """Give the names of gymnasium's environments, and ``name`` if it is one of them in a module to be imported."""
    try:
        from plastikit.train.gymnasium_environment import registered, specification
    except ModuleNotFoundError as error:
        if ":" in name:
            raise MissingExtraError.of(f"the task {name}", "train") from error
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
