"""Evaluation over the course of training: run by run, and task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go
import xarray as xr

from plastikit.figures.theme import INK, MUTED, RAMP, categories, figure, literal, ramp
from plastikit.schema import FINISHED, TASK

_SHARES: Final = {"range": [-0.04, 1.04], "tickvals": [0.0, 0.25, 0.5, 0.75, 1.0], "tickformat": ".0%"}
_PANEL: Final = 190
_FRAME: Final = 100
_GAP: Final = 0.3
_MOST_NAMED: Final = 10


def run_curves_figure(curves: Sequence[xr.Dataset]) -> go.Figure:
    """One panel for each task count, one line for each run (the mean over its tasks), the wider the stronger.

    A run that did not finish is dashed, and its marks are hollow.

    Args:
        curves: what ``task_curves`` gives, one or more; their attributes say where each run stands.
    """
    counts = sorted({_order(curve.attrs["task_count"]) for curve in curves})
    widths = sorted({_order(curve.attrs["width"]) for curve in curves})
    colours = dict(zip(widths, ramp(len(widths)), strict=True))
    made = figure(
        height=_FRAME + _PANEL * len(counts),
        grid={"rows": len(counts), "columns": 1, "pattern": "independent", "ygap": _GAP},
        legend={"y": -70 / (_PANEL * len(counts)), "traceorder": "normal"},
    )
    named: set[int] = set()
    for position, count in enumerate(counts):
        axis = "" if position == 0 else str(position + 1)
        last = position == len(counts) - 1
        made.update_layout(
            {
                f"xaxis{axis}": _progress_axis(curves[0] if last else None),
                f"yaxis{axis}": _value_axis(curves[0]),
            }
        )
        made.add_annotation(
            text="task count not given" if count < 0 else f"{count} task{'' if count == 1 else 's'}",
            xref=f"x{axis} domain",
            yref=f"y{axis} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            yshift=6,
            showarrow=False,
            font={"color": MUTED, "size": 13},
        )
        members = [curve for curve in curves if _order(curve.attrs["task_count"]) == count]
        for curve in sorted(members, key=lambda member: _order(member.attrs["width"])):
            width = _order(curve.attrs["width"])
            is_finished = curve.attrs["state"] == FINISHED
            made.add_scatter(
                x=curve["progress"].values.tolist(),
                y=curve["mean"].values.tolist(),
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
                mode="lines+markers",
                name="width not given" if width < 0 else f"width {width}",
                legendgroup=str(width),
                showlegend=width not in named,
                line={"color": colours[width], "width": 2, "dash": "solid" if is_finished else "dash"},
                marker={"size": 5, "symbol": "circle" if is_finished else "circle-open"},
                hovertemplate=_hover(curve.attrs["run"], curve),
            )
            named.add(width)
    return made


def task_curves_figure(curve: xr.Dataset) -> go.Figure:
    """One run: a line for each task and a heavy one for their mean.

    Beyond ten tasks the lines are named on hovering alone.
    """
    tasks = [str(task) for task in curve[TASK].values]
    few = len(tasks) <= _MOST_NAMED
    made = figure(
        height=_FRAME + 2 * _PANEL,
        legend={"y": -70 / (2 * _PANEL)},
        xaxis=_progress_axis(curve),
        yaxis=_value_axis(curve),
        title={"text": literal(curve.attrs["long_name"])},
    )
    looks = categories(len(tasks)) if few else [(RAMP[0], "circle")] * len(tasks)
    for task, (colour, symbol) in zip(tasks, looks, strict=True):
        made.add_scatter(
            x=curve["progress"].values.tolist(),
            y=curve["per_task"].sel({TASK: task}).values.tolist(),
            mode="lines+markers",
            name=literal(task),
            showlegend=few,
            line={"color": colour, "width": 1.5},
            marker={"symbol": symbol, "size": 6},
            hovertemplate=_hover(task, curve),
        )
    if len(tasks) > 1:
        made.add_scatter(
            x=curve["progress"].values.tolist(),
            y=curve["mean"].values.tolist(),
            mode="lines",
            name="mean of the tasks",
            line={"color": INK, "width": 3},
            hovertemplate=_hover("mean of the tasks", curve),
        )
    return made


def _order(value: int | None) -> int:
    return -1 if value is None else value


def _value_axis(curve: xr.Dataset) -> dict[str, Any]:
    return dict(_SHARES) if curve.attrs["is_share"] else {"tickformat": "~s"}


def _progress_axis(curve: xr.Dataset | None) -> dict[str, Any]:
    name = "" if curve is None else str(curve["progress"].attrs.get("long_name", ""))
    return {"title": {"text": name}, "tickformat": "~s", "rangemode": "tozero"}


def _hover(name: str, curve: xr.Dataset) -> str:
    number = ".1%" if curve.attrs["is_share"] else ".4~g"
    return (
        f"{literal(name)}<br>%{{x:,}} {curve['progress'].attrs.get('long_name', '')}<br>%{{y:{number}}}<extra></extra>"
    )
