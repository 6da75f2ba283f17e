"""Evaluation over the course of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.analysis.curves import task_curves


def success(run: Any, step: int) -> float:
    """Rises with the step."""
    return step / 1000


def test_each_run_has_its_own_tasks_and_their_mean(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """A run of one task has one line, beside a run of three; the mean is over its own tasks."""
    first, second = task_curves(join(grid([1, 3], [32], 1), {"success_rate": success}))
    assert first.sizes["task"] == 1
    assert second.sizes["task"] == 3
    assert second["mean"].values == pytest.approx(np.arange(10) / 10)
    assert second.attrs["task_count"] == 3
    assert second.attrs["is_share"]


def test_progress_counts_environment_steps_where_they_are_known(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """The axis is env_step where the run recorded it, and the gradient step where it did not."""
    runs = join(grid([1], [32], 1), {"success_rate": success})
    (with_env,) = task_curves(runs)
    assert with_env["progress"].attrs["long_name"] == "environment steps"
    assert with_env["progress"].values[-1] == 1800
    runs["evaluation"] = runs["evaluation"].to_dataset().drop_vars("env_step")
    (without,) = task_curves(runs)
    assert without["progress"].attrs["long_name"] == "gradient steps"
    assert without["progress"].values[-1] == 900


def test_a_run_that_was_never_evaluated_has_no_steps(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """NaN throughout is an empty curve."""
    runs = join(grid([1], [32], 2), {"success_rate": lambda run, step: np.nan if run.seed else 0.5})
    assert [curve.sizes["step"] for curve in task_curves(runs)] == [10, 0]
