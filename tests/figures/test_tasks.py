"""Evaluation over training."""

from __future__ import annotations

import numpy as np
import xarray as xr

from plastikit.figures.tasks import run_curves_figure, task_curves_figure


def curve(tasks: int, width: int | None = 32, task_count: int | None = None, state: str = "finished") -> xr.Dataset:
    """One run: every task a constant."""
    values = np.broadcast_to(np.linspace(0, 1, tasks)[:, None], (tasks, 3))
    return xr.Dataset(
        {"per_task": (("task", "step"), values), "mean": ("step", values.mean(axis=0))},
        coords={
            "task": [f"task-{number}" for number in range(tasks)],
            "step": [0, 1, 2],
            "progress": ("step", [0.0, 500.0, 1000.0], {"long_name": "environment steps"}),
        },
        attrs={
            "run": f"run of {tasks}",
            "width": width,
            "state": state,
            "task_count": tasks if task_count is None else task_count,
            "is_share": True,
            "long_name": "success rate",
        },
    )


def test_each_task_count_has_a_panel_and_each_run_a_line() -> None:
    """Three runs of two task counts stand in two panels, each width named once in the legend."""
    figure = run_curves_figure([curve(3, 128), curve(1, 32), curve(1, 128)]).to_plotly_json()
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["1 task", "3 tasks"]
    assert [(trace["xaxis"], trace["name"], trace["showlegend"]) for trace in figure["data"]] == [
        ("x", "width 32", True),
        ("x", "width 128", True),
        ("x2", "width 128", False),
    ]
    assert figure["data"][1]["line"]["color"] == figure["data"][2]["line"]["color"]
    assert figure["layout"]["xaxis2"]["title"]["text"] == "environment steps"


def test_a_run_shows_every_task_and_a_heavier_mean() -> None:
    """Three tasks make three thin lines and one heavy one; the mean is what the analysis gave."""
    drawn = task_curves_figure(curve(3)).to_plotly_json()["data"]
    assert [trace["name"] for trace in drawn] == ["task-0", "task-1", "task-2", "mean of the tasks"]
    assert drawn[-1]["line"]["width"] > drawn[0]["line"]["width"]
    assert list(drawn[-1]["y"]) == [0.5, 0.5, 0.5]
    assert len(task_curves_figure(curve(1)).data) == 1


def test_many_tasks_are_named_on_hovering_alone() -> None:
    """Fifty tasks do not fill the legend."""
    drawn = task_curves_figure(curve(50)).to_plotly_json()["data"]
    assert sum(trace.get("showlegend", True) for trace in drawn) == 1
    assert "task-7" in drawn[7]["hovertemplate"]


def test_runs_without_width_or_task_count_are_drawn() -> None:
    """What was not given is said, not guessed."""
    run = curve(2, width=None)
    run.attrs["task_count"] = None
    figure = run_curves_figure([run]).to_plotly_json()
    assert figure["data"][0]["name"] == "width not given"
    assert figure["layout"]["annotations"][0]["text"] == "task count not given"


def test_a_run_that_did_not_finish_is_dashed_and_hollow() -> None:
    """Its line stands apart from that of a run of the same width that finished."""
    whole, cut = run_curves_figure([curve(1), curve(1, state="interrupted")]).to_plotly_json()["data"]
    assert (whole["line"]["dash"], whole["marker"]["symbol"]) == ("solid", "circle")
    assert (cut["line"]["dash"], cut["marker"]["symbol"]) == ("dash", "circle-open")
