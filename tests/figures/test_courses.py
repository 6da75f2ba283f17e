"""A metric over the course of training."""

from __future__ import annotations

import numpy as np
import xarray as xr

from plastikit.figures.courses import course_figure


def course(count: int) -> xr.DataArray:
    """Runs of three steps, the last of which the first run, which was interrupted, did not reach."""
    values = np.arange(3.0 * count).reshape(count, 3) / 100
    values[0, 2] = np.nan
    return xr.DataArray(
        values,
        dims=("run", "step"),
        coords={
            "run": [f"run {number}" for number in range(count)],
            "step": [0, 10, 20],
            "state": ("run", ["interrupted"] + ["finished"] * (count - 1)),
        },
        attrs={"long_name": "dormant fraction", "is_share": True},
    )


def test_each_run_has_a_line_as_long_as_it_ran() -> None:
    """Two runs make two lines, told apart by colour and mark, without the steps that a run does not have."""
    first, second = course_figure(course(2)).to_plotly_json()["data"]
    assert first["x"] == [0, 10]
    assert second["x"] == [0, 10, 20]
    assert first["line"]["color"] != second["line"]["color"]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]


def test_many_runs_do_not_fill_the_legend() -> None:
    """Beyond ten runs, and for one alone, there is no legend."""
    assert course_figure(course(3)).layout.showlegend
    assert not course_figure(course(30)).layout.showlegend
    assert not course_figure(course(1)).layout.showlegend


def test_a_run_that_did_not_finish_is_dashed_and_hollow() -> None:
    """An interrupted run does not look like one that ended early by design, and hovering says how it ended."""
    cut, whole = course_figure(course(2)).to_plotly_json()["data"]
    assert (cut["line"]["dash"], cut["marker"]["symbol"].endswith("-open")) == ("dash", True)
    assert (whole["line"]["dash"], whole["marker"]["symbol"].endswith("-open")) == ("solid", False)
    assert "run 0 (interrupted)" in cut["hovertemplate"]
    assert "finished" not in whole["hovertemplate"]
