"""A metric over the course of training, for runs that differ in neither width nor task count."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from plastikit.figures.theme import RAMP, categories, figure, literal
from plastikit.schema import FINISHED, RUN, STEP

_HEIGHT: Final = 420
_MOST_NAMED: Final = 10


def course_figure(course: xr.DataArray) -> go.Figure:
    """One line for each run over its steps; beyond ten runs they are named on hovering alone.

    A run that did not finish is dashed, and its marks are hollow.

    Args:
        course: ``[run, step]``, what ``course`` of the analysis gives.
    """
    share = bool(course.attrs["is_share"])
    names = [str(name) for name in course[RUN].values]
    few = len(names) <= _MOST_NAMED
    made = figure(
        height=_HEIGHT,
        title={"text": literal(str(course.attrs["long_name"]))},
        showlegend=1 < len(names) <= _MOST_NAMED,
        xaxis={"title": {"text": "step"}, "tickformat": "~s"},
        yaxis={"tickformat": "~%" if share else "~g", "rangemode": "tozero" if share else "normal"},
    )
    looks = categories(len(names)) if few else [(RAMP[len(RAMP) // 2], "circle")] * len(names)
    for name, (colour, symbol) in zip(names, looks, strict=True):
        own = course.sel({RUN: name})
        ended = str(own["state"].item())
        is_finished = ended == FINISHED
        told = literal(name) if is_finished else f"{literal(name)} ({literal(ended)})"
        measured = np.isfinite(own.values)
        made.add_scatter(
            x=own[STEP].values[measured].tolist(),
            y=own.values[measured].tolist(),
            mode="lines+markers" if measured.sum() <= 60 else "lines",
            name=literal(name),
            line={"color": colour, "width": 2, "dash": "solid" if is_finished else "dash"},
            marker={"symbol": symbol if is_finished else f"{symbol}-open", "size": 5},
            hovertemplate=f"{told}<br>step %{{x:,}}<br>%{{y:{'.1%' if share else '.4~g'}}}<extra></extra>",
        )
    return made
