"""Tests of many requests at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plastikit.record.batch import each


def test_results_keep_their_order() -> None:
    """The results lie in the order of what they are of, whichever ended first."""

    def late(number: int) -> int:
        time.sleep(0.05 * (100 - number) / 100)
        return number * 2

    started = time.monotonic()
    assert each(range(100), late) == [number * 2 for number in range(100)]
    assert time.monotonic() - started < 1.5
    assert each([], late) == []


def test_after_a_failure_nothing_is_left_under_way() -> None:
    """What was begun before a failure ends before it is raised, and nothing is begun after it."""
    begun, ended = [], []

    def one(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise OSError("no")
        time.sleep(0.05)
        ended.append(number)

    with pytest.raises(OSError, match="no"):
        each(range(1000), one)
    assert sorted(ended) == sorted(set(begun) - {3})
    assert len(begun) < 100
    assert not any(thread.name == "plastikit-request" for thread in threading.enumerate())


def test_it_works_while_the_process_ends(tmp_path: Path) -> None:
    """What a process writes in its last moments is written, in whatever way threads are refused by then."""
    code = (
        "import atexit\nfrom plastikit.record.batch import each\n"
        "atexit.register(lambda: print(each(range(50), lambda number: number) == list(range(50))))"
    )
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "True\n"
