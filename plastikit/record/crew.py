"""Work on many places at once where each is far away, and in turn where they are near."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from plastikit.record.place import Folder, Place

Item = TypeVar("Item")
Result = TypeVar("Result")

_HANDS: Final = 32


def each(work: Callable[[Item], Result], items: Iterable[Item], places: Iterable[Place]) -> list[Result]:
    """What ``work`` gives for each of ``items``, which lie at ``places``."""
    if all(isinstance(place, Folder) for place in places):
        return [work(item) for item in items]
    with ThreadPoolExecutor(_HANDS) as hands:
        return list(hands.map(work, items))
