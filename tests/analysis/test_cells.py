"""Runs as numbers, in cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.analysis.cells import gather_cells, in_words, run_coordinates, run_values
from plastikit.analysis.selection import select


@pytest.mark.parametrize(
    ("state", "words"),
    [("failed", "failed"), ("running", "is still running"), ("interrupted", "was interrupted"), ("odd", "is 'odd'")],
)
def test_states_end_a_sentence(state: str, words: str) -> None:
    """How a run ended can follow its name."""
    assert in_words(state) == words


def test_a_run_without_a_place_says_none(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """A width that was not given is None, not a number that looks like one."""
    runs = join(grid([1], [32], 1), {"srank": lambda run, step: 1.0})
    root = runs.to_dataset().assign_coords(width=("run", [np.nan]))
    runs = xr.DataTree.from_dict({"/": root})
    assert run_coordinates(runs, 0)["width"] is None
    assert run_coordinates(runs, 0)["task_count"] == 1


def test_cells_come_in_the_order_of_the_grid(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """Cells are sorted by task count, then width, whatever the order of the runs."""
    runs = join(reversed(grid([1, 3], [32, 64], 2)), {"srank": lambda run, step: 1.0})
    values = run_values(runs, select(runs, "srank"), window=0.1, unfinished=False)
    assert [(cell.task_count, cell.width) for cell in gather_cells(list(values), 0.95)] == [
        (1, 32),
        (1, 64),
        (3, 32),
        (3, 64),
    ]
