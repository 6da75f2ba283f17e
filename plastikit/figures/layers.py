"""One run layer by layer: a row for each layer or parameter, a column for each record."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from plastikit.figures.theme import HAIRLINE, MUTED, figure, heat, literal, short_names
from plastikit.schema import LAYER, PARAMETER, STEP

_ROW: Final = 30
_MANY_ROWS: Final = 12
_SMALL_ROW: Final = 20
_FRAME: Final = 120


def layer_figure(history: xr.DataArray, *, limits: tuple[float, float] | None = None) -> go.Figure:
    """A heatmap of one run, from the first layer at the top to the last at the bottom.

    Args:
        history: ``[layer, step]`` or ``[parameter, step]``, one entry of ``layer_history``.
        limits: ends of the colour scale, so that runs can be compared by eye; the run's own range by default.
    """
    axis = LAYER if LAYER in history.dims else PARAMETER
    names = [str(name) for name in history[axis].values]
    share = str(history.attrs.get("valid_range", "")).replace(" ", "").startswith("[0,1]")
    low, high = limits if limits is not None else (float(history.min()), float(history.max()))
    made = figure(
        height=_FRAME + len(names) * (_ROW if len(names) <= _MANY_ROWS else _SMALL_ROW),
        margin={"t": 56, "b": 46},
        xaxis={"title": {"text": "step", "standoff": 20}, "tickformat": "~s", "showline": False},
        yaxis={
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [literal(name) for name in short_names(names)],
            "tickfont": {"size": 11},
        },
    )
    made.add_heatmap(
        z=history.transpose(axis, STEP).values.astype(np.float32),
        x=history[STEP].values,
        y=list(range(len(names))),
        zmin=low,
        zmax=high if high > low else low + 1.0,
        colorscale=heat(),
        ygap=2,
        colorbar={
            "orientation": "h",
            "x": 1.0,
            "xanchor": "right",
            "y": 1.0,
            "yanchor": "bottom",
            "ypad": 6,
            "len": 0.5,
            "thickness": 8,
            "outlinewidth": 0,
            "tickformat": "~%" if share else "~g",
            "tickfont": {"color": MUTED, "size": 11},
            "nticks": 4,
            "bordercolor": HAIRLINE,
        },
        hovertemplate=f"%{{y}}<br>step %{{x}}<br>%{{z:{'.1%' if share else '.4~g'}}}<extra></extra>",
    )
    return made
