"""The one table of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from plastikit.analysis.summary import summary


def half(run: Any, step: int) -> float:
    """A little different in each run."""
    return 0.5 + 0.01 * run.seed


def test_the_table_has_dormancy_rank_norm_and_success_by_cell(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Each task count and width is a row; dormancy is given for critics and actor, the others once."""
    names = ("dormant_fraction", "srank", "weight_norm", "success_rate")
    found = summary(join(grid([1, 3], [32, 128], 3), dict.fromkeys(names, half)))
    assert [(column.metric, column.network) for column in found.columns] == [
        ("dormant_fraction", "critic"),
        ("dormant_fraction", "actor"),
        ("srank", "critic"),
        ("weight_norm", "critic"),
        ("success_rate", None),
    ]
    assert found.columns[0].short == "critic, τ = 0.025"
    assert [(row.task_count, row.width, row.runs) for row in found.rows] == [
        (1, 32, 3),
        (1, 128, 3),
        (3, 32, 3),
        (3, 128, 3),
    ]
    assert all(len(row.entries) == 5 for row in found.rows)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_cell_without_a_value_is_nan_and_named(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """A metric that one cell lacks leaves a NaN there and a note, and the row stays."""
    values = {"weight_norm": half, "srank": lambda run, step: np.nan if run.width == 32 else 1.0}
    found = summary(join(grid([1], [32, 64], 1), values))
    assert [column.metric for column in found.columns] == ["srank", "weight_norm"]
    assert np.isnan(found.rows[0].entries[0].value)
    assert any("no finite srank" in note for note in found.notes)


def test_runs_that_hold_none_of_it_give_an_empty_table(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Without any of the metrics there are no columns and no rows, and no error."""
    found = summary(join(grid([1], [32], 1), {}))
    assert found.columns == ()
    assert found.rows == ()
