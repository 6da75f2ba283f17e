"""A task divided into parts: how the parts are named, and which of its goals or variants each of them has."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from plastikit.errors import ConfigurationError

Item = TypeVar("Item")

MOST_PARTS: Final = 50
"""Parts that anything divides into at most; a task of Meta-World has as many goals."""

_PART: Final = re.compile(r"(.+)-([1-9]\d*)of([1-9]\d*)")
_LIKE_A_PART: Final = re.compile(r"(.+?)-(\d+)\s*of\s*(.*)")


@dataclass(frozen=True)
class Part:
    """One of the equal parts of a whole."""

    whole: str
    """The task that is divided."""

    number: int
    """Which part, from 1."""

    count: int
    """How many parts there are."""

    @property
    def name(self) -> str:
        """The task that the part is.

        >>> Part("reach-v3", 1, 4).name
        'reach-v3-1of4'
        """
        return f"{self.whole}-{self.number}of{self.count}"

    @property
    def place(self) -> float:
        """Where among the parts it stands: the first at 0, the last at 1, a lone one in the middle."""
        return (self.number - 1) / (self.count - 1) if self.count > 1 else 0.5

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Give the part's own of the whole's items: neighbours, each item in one part, sizes differ by one at most.

        >>> [list(Part("reach-v3", number, 3).share(range(7))) for number in (1, 2, 3)]
        [[0, 1], [2, 3], [4, 5, 6]]
        """
        return items[len(items) * (self.number - 1) // self.count : len(items) * self.number // self.count]


def part(name: str) -> Part | None:
    """Read a part's name; None where it is none.

    >>> part("reach-v3-1of4")
    Part(whole='reach-v3', number=1, count=4)
    """
    match = _PART.fullmatch(name)
    if match is None or int(match[2]) > int(match[3]):
        return None
    return Part(match[1], int(match[2]), int(match[3]))


def whole(name: str) -> str:
    """Give the task that a part belongs to; any other task is its own whole."""
    found = part(name)
    return name if found is None else found.whole


def parts_named(name: str, wholes: Container[str]) -> tuple[str, ...] | None:
    """Give the parts that a name stands for, all of a division or a single one; None where none of ``wholes`` is meant.

    Raises:
        ConfigurationError: a whole has no part of that number, or does not divide into so many.

    >>> parts_named("reach-v3/2", ["reach-v3"])
    ('reach-v3-1of2', 'reach-v3-2of2')
    """
    known, slash, number_of_parts = name.partition("/")
    if slash and known in wholes:
        count = _count(name, known, number_of_parts)
        return tuple(Part(known, number, count).name for number in range(1, count + 1))
    match = _LIKE_A_PART.fullmatch(name)
    if match is None or match[1] not in wholes:
        return None
    count = _count(name, match[1], match[3])
    if part(name) is None:
        first, last = Part(match[1], 1, count).name, Part(match[1], count, count).name
        raise ConfigurationError(
            f"{name} names part {match[2]} of {match[3]}, and the parts are {first} to {last}. Name one of these, or "
            f"all as {match[1]}/{count}."
        )
    return (name,)


def _count(name: str, known: str, found: str) -> int:
    """Read a number of parts."""
    if not found.isdecimal() or not 1 <= int(found) <= MOST_PARTS:
        asked = found if found.isdecimal() else repr(found)
        raise ConfigurationError(
            f"{name} asks for {asked} parts of {known}; a number from 1 to {MOST_PARTS} was expected, the most that "
            f"anything divides into. Give one, as in {known}/4."
        )
    return int(found)
