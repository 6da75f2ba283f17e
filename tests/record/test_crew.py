"""Work on distant places goes on at once, and on near ones in turn; either way the answers come in order."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from oracles.memory import Memory
from plastikit.record.crew import each
from plastikit.record.place import Folder


def test_near_places_in_turn() -> None:
    """On a file system one thread does it all."""
    threads = each(lambda _: threading.get_ident(), range(10), [Folder(Path())] * 10)
    assert set(threads) == {threading.get_ident()}


def test_distant_places_at_once() -> None:
    """Eight that wait for one another all come to an end, and their answers stay in order."""
    meeting = threading.Barrier(8, timeout=20)

    def work(number: int) -> int:
        meeting.wait()
        return number

    assert each(work, range(8), [Memory({})]) == list(range(8))


def test_errors_come_through() -> None:
    """What goes wrong far away is raised here."""

    def work(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        each(work, [1, 0], [Memory({})])
