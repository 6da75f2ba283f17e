"""Work on many places at once where each is far away, and in turn where they are near."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from plastikit.record import batch
from plastikit.record.place import Folder, Place

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item], places: Iterable[Place]) -> list[Result]:
    """What ``work`` gives for each of ``items``, which lie at ``places``."""
    if all(isinstance(place, Folder) for place in places):
        return [work(item) for item in items]
    return batch.each(items, work)
