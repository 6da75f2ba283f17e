"""A metric against width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.figures.scaling import scaling_figure


def result(**changes: Any) -> xr.Dataset:
    """Two task counts at two widths, two runs each, one of which is left out."""
    counts, widths = [1, 1, 3, 3], [32, 128, 32, 128]
    made = xr.Dataset(
        {
            "cell_value": ("cell", [0.1, 0.4, 0.05, 0.2]),
            "cell_low": ("cell", [0.08, 0.3, np.nan, 0.1]),
            "cell_high": ("cell", [0.12, 0.5, np.nan, 0.3]),
            "cell_task_count": ("cell", counts),
            "cell_width": ("cell", widths),
            "cell_n": ("cell", [2, 2, 1, 2]),
            "value": ("run", [0.09, 0.11, 0.3, 0.5, 0.05, 0.06, 0.1, 0.3]),
            "task_count": ("run", np.repeat(counts, 2).astype(float)),
            "width": ("run", np.repeat(widths, 2).astype(float)),
            "left_out": ("run", np.array(["", "", "", "", "", "failed", "", ""], dtype=object)),
        },
        coords={"run": np.array([f"run <{number}>" for number in range(8)], dtype=object)},
        attrs={"metric": "dormant_fraction", "long_name": "dormant fraction", "is_share": True, "level": 0.95},
    )
    return made.assign(changes)


def test_each_task_count_has_a_line_of_cells_and_a_point_for_every_run() -> None:
    """Two task counts make two lines with intervals and two sets of points, in one colour each."""
    drawn = scaling_figure(result()).to_plotly_json()["data"]
    lines = [trace for trace in drawn if trace["mode"] == "lines+markers"]
    points = [trace for trace in drawn if trace["mode"] == "markers"]
    assert [line["name"] for line in lines] == ["1 task", "3 tasks"]
    assert sum(len(trace["y"]) for trace in points) == 8
    for line, runs in zip(lines, points, strict=True):
        assert line["line"]["color"] == runs["marker"]["color"]
        assert line["legendgroup"] == runs["legendgroup"]
    assert lines[0]["marker"]["symbol"] != lines[1]["marker"]["symbol"]


def test_the_interval_reaches_from_low_to_high_and_is_nothing_where_unknown() -> None:
    """Error bars end at the interval's ends; a cell without an interval has none, and says so on hovering."""
    line = next(t for t in scaling_figure(result()).to_plotly_json()["data"] if t["name"] == "3 tasks")
    assert np.allclose(line["error_y"]["array"], [0.0, 0.1])
    assert np.allclose(line["error_y"]["arrayminus"], [0.0, 0.1])
    assert line["customdata"][0][2] == "no interval"
    assert line["customdata"][0][1] == "interquartile mean of 1 run"


def test_the_axis_is_logarithmic_and_names_the_widths() -> None:
    """Ticks stand at log2 of the widths that there are and show the widths themselves."""
    axis = scaling_figure(result()).to_plotly_json()["layout"]["xaxis"]
    assert axis["tickvals"] == [5.0, 7.0]
    assert axis["ticktext"] == ["32", "128"]


def test_a_run_that_is_left_out_is_hollow_and_says_why() -> None:
    """It is drawn, unlike the others, and its reason is one hover away; its name stays text."""
    points = next(t for t in scaling_figure(result()).to_plotly_json()["data"] if t["name"] == "3 tasks, runs")
    assert list(points["marker"]["symbol"]) == ["circle", "circle-open", "circle", "circle"]
    assert points["customdata"][1][1] == "<br>left out: failed"
    assert points["customdata"][1][0] == "run &lt;5&gt;"


@pytest.mark.parametrize("missing", ["width", "task_count"])
def test_runs_without_a_place_are_not_drawn(missing: str) -> None:
    """A run that has no width or no task count has no place on the axis, and breaks nothing."""
    values = result()[missing].values.copy()
    values[0] = np.nan
    drawn = scaling_figure(result(**{missing: ("run", values)})).to_plotly_json()["data"]
    assert sum(len(trace["y"]) for trace in drawn if trace["mode"] == "markers") == 7
