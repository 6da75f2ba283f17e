"""Which Meta-World tasks a run trains on; known by name, so that asking costs no import of the simulator."""

from __future__ import annotations

import hashlib
import importlib
from typing import Final

from plastikit.errors import ConfigurationError, MissingExtraError, UnknownNameError

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


def resolve_tasks(selection: str, task_seed: int = 0) -> tuple[str, ...]:
    """Name the tasks that ``selection`` stands for, in the order of their heads and one-hot entries.

    Args:
        selection: a benchmark (``MT10``), a count (``"5"``: that many of MT50, drawn by ``task_seed``) or
            task names with commas between them (``"reach-v3,drawer-close-v3"``).
        task_seed: which draw a count means. Draws of one seed are nested: 3 tasks are the first 3 of its 5.

    Raises:
        UnknownNameError: a name that is neither a benchmark nor a task.
        ConfigurationError: no task, a task named twice, or a count outside 1 to 50.

    >>> resolve_tasks("reach-v3, push-v3")
    ('reach-v3', 'push-v3')
    >>> resolve_tasks("2", task_seed=3) == resolve_tasks("5", task_seed=3)[:2]
    True
    """
    text = selection.strip()
    if text.upper() in BENCHMARKS:
        return BENCHMARKS[text.upper()]
    if _is_whole_number(text):
        return _draw(int(text), task_seed)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ConfigurationError(
            f"tasks is {selection!r}, which names none. Give MT10, MT25, MT50, a count, or names such as 'reach-v3'."
        )
    for name in names:
        if name not in MT50:
            raise UnknownNameError.of("task", name, MT50 if len(names) > 1 else (*BENCHMARKS, *MT50))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigurationError(f"tasks names {', '.join(repeated)} more than once. Name each task once.")
    return names


def require_metaworld() -> None:
    """Fail in one line when the simulator is not installed.

    Raises:
        MissingExtraError: Meta-World or gymnasium cannot be imported.
    """
    for module in ("gymnasium", "metaworld"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtraError.of("training", "train") from error


def _is_whole_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _draw(count: int, task_seed: int) -> tuple[str, ...]:
    if not 1 <= count <= len(MT50):
        raise ConfigurationError(f"tasks is {count}; a count must be from 1 to {len(MT50)}, the tasks of MT50.")

    # A hash orders the tasks alike on every platform and version, and makes the draws of one seed nested.
    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{task_seed}:{name}".encode()).digest()

    return tuple(sorted(MT50, key=rank)[:count])
