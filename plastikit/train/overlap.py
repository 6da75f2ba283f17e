"""What tasks of one run have in common, so that what is learned in one of them counts in another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Final

from plastikit.train.parts import MOST_PARTS, part, whole
from plastikit.train.tasks import MT50, PENDULUM

_TOLD: Final = 3
"""Pairs that a warning names."""


def overlaps(tasks: Sequence[str]) -> list[str]:
    """Say of each two tasks what they share: goals of a task of Meta-World, or all that a pendulum is.

    >>> overlaps(["reach-v3-1of4", "push-v3", "reach-v3"])
    ['reach-v3-1of4 and reach-v3 share 12 of 50 goals']
    """
    families: dict[str, list[str]] = {}
    for task in tasks:
        families.setdefault(whole(task), []).append(task)
    pairs = [pair for family in families.values() for pair in combinations(family, 2)]
    return [told for first, second in pairs if (told := _shared(first, second))]


@cache
def warn_of_overlaps(tasks: tuple[str, ...]) -> None:
    """Warn where tasks share what they are made of: heads, scores and conflicts of such tasks are not independent.

    Once in a process, since a sweep makes many configurations of the same tasks.
    """
    told = overlaps(tasks)
    if told:
        more = f"; and so on, {len(told)} pairs in all" if len(told) > _TOLD else ""
        warnings.warn(
            f"the tasks overlap: {'; '.join(told[:_TOLD])}{more}. They are trained and judged as tasks of their own; "
            "name the parts of one division, such as reach-v3/4, for tasks that share nothing",
            stacklevel=2,
        )


def _shared(first: str, second: str) -> str:
    if whole(first) in MT50:
        count = len(_goals(first) & _goals(second))
        return f"{first} and {second} share {count} of {MOST_PARTS} goals" if count else ""
    one, other = part(first), part(second)
    if whole(first) == PENDULUM and one is not None and other is not None and one.place == other.place:
        return f"{first} and {second} are one and the same pendulum"
    return ""


def _goals(task: str) -> set[int]:
    """The places of the task's goals among those of its whole, along the line that parts divide."""
    own = part(task)
    return set(range(MOST_PARTS) if own is None else own.share(range(MOST_PARTS)))
