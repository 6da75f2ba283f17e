"""Arrays in memory that several processes see."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from plastikit.train.board import Board, nameless_file

ARRAYS = (
    "is_asked",
    "goal",
    "action",
    "observation",
    "next_observation",
    "reward",
    "is_terminated",
    "is_truncated",
    "is_success",
)


@pytest.mark.parametrize("sizes", [(1, 3, 1), (20, 39, 4), (100, 39, 4), (7, 1, 1)])
def test_two_boards_on_one_file_are_the_same_and_no_array_reaches_into_another(sizes: tuple[int, int, int]) -> None:
    """What is written on one is read on the other, each array on its own."""
    file = nameless_file(Board.size(*sizes))
    one, other = (Board(mmap.mmap(file, 0), *sizes) for _ in range(2))
    os.close(file)
    for number, name in enumerate(ARRAYS, start=1):
        getattr(one, name)[:] = number
    for number, name in enumerate(ARRAYS, start=1):
        found = getattr(other, name)
        assert (found == (True if found.dtype == np.bool_ else number)).all()
        assert len(found) == sizes[0]


def test_without_memfd_the_file_lies_in_a_folder_and_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """On systems other than Linux a nameless temporary file does."""
    monkeypatch.delattr(os, "memfd_create")
    file = nameless_file(100)
    assert os.fstat(file).st_size == 100
    assert os.fstat(file).st_nlink == 0
    os.close(file)
