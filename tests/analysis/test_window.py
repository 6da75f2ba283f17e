"""The final window of a run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from plastikit.analysis.window import final_window, last_step, window_mean


def curve(*runs: list[float]) -> xr.DataArray:
    """Runs side by side on steps 0, 10, 20, ..."""
    return xr.DataArray(list(runs), dims=("run", "step"), coords={"step": 10 * np.arange(len(runs[0]))})


def test_the_window_is_a_tenth_of_the_records_and_at_least_one() -> None:
    """Of 30 records the last three are averaged; of five, the last one."""
    assert window_mean(curve([float(value) for value in range(30)])).values[0] == 28.0
    assert window_mean(curve([1.0, 2.0, 3.0, 4.0, 5.0])).values[0] == 5.0


def test_steps_of_other_runs_are_no_records_of_this_one() -> None:
    """A shorter run that is NaN at later steps ends at its own last record."""
    both = curve([1.0, 2.0, np.nan, np.nan], [1.0, 2.0, 3.0, 4.0])
    assert window_mean(both).values.tolist() == [2.0, 4.0]
    assert last_step(both).values.tolist() == [10.0, 30.0]
    assert final_window(both).sum("step").values.tolist() == [1, 1]


def test_a_run_without_records_is_nan() -> None:
    """A run that never recorded the metric has no value and no last step, rather than zero."""
    empty = curve([np.nan, np.nan])
    assert np.isnan(window_mean(empty).values[0])
    assert np.isnan(last_step(empty).values[0])


def test_the_whole_run_can_be_the_window() -> None:
    """A share of 1 averages all records."""
    assert window_mean(curve([1.0, 2.0, 6.0]), share=1.0).values[0] == 3.0
