"""A task divided into parts: how the parts are named, and which of its goals or variants each of them has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Item = TypeVar("Item")

_PART: Final = re.compile(r"(.+)-([1-9]\d*)of([1-9]\d*)")
_DIVISION: Final = re.compile(r"(.+)/(\d+)")


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


def division(name: str) -> tuple[str, int] | None:
    """Read a whole and the number of its parts, as in ``reach-v3/4``; None where the name is none."""
    match = _DIVISION.fullmatch(name)
    return None if match is None else (match[1], int(match[2]))


def whole(name: str) -> str:
    """Give the task that a part belongs to; any other task is its own whole."""
    found = part(name)
    return name if found is None else found.whole
