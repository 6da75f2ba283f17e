"""A metric over the course of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from plastikit.analysis.courses import course


def test_a_course_keeps_its_ends_and_thins_evenly(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Of 1,000 records 100 are kept as they were recorded, the first and the last among them."""
    runs = join(grid([1], [32], 2), {"srank": lambda run, step: float(step + run.seed)}, range(1000))
    found = course(runs, "srank", most_points=100)
    assert found.sizes == {"run": 2, "step": 100}
    assert found.values[1, 0] == 1.0
    assert found.values[0, -1] == 999.0
    assert not found.attrs["is_share"]


def test_a_shorter_run_ends_where_it_ended(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """Steps that one run does not have are NaN in it, and stand in the other."""
    runs = join(grid([1], [32], 2), {"srank": lambda run, step: np.nan if run.seed and step > 300 else 1.0})
    assert np.isfinite(course(runs, "srank").values).sum(axis=1).tolist() == [10, 4]


def test_a_course_knows_how_each_run_ended_and_what_was_read(
    join: Callable[..., xr.DataTree], one_run: Callable[..., Any]
) -> None:
    """The states stand along the runs, and the name is that of the variable that was read."""
    runs = join([one_run(seed=0), one_run(seed=1, state="interrupted")], {"weight_norm": lambda run, step: 1.0})
    runs["diagnostics"]["network_weight_norm"].attrs["long_name"] = "weight norm of the network"
    found = course(runs, "weight_norm")
    assert found["state"].values.tolist() == ["finished", "interrupted"]
    assert found.attrs["long_name"] == "weight norm of the network"
