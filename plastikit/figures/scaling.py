"""A metric against the width of the network, one line for each task count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from plastikit.figures.theme import categories, figure, literal

_SPREAD: Final = 0.45
"""Octaves over which the task counts of one width stand side by side, so that they do not hide each other."""
_HEIGHT: Final = 420


def scaling_figure(result: xr.Dataset) -> go.Figure:
    """Every run as a point, each cell as an interquartile mean with its interval, on a logarithmic axis of width.

    Args:
        result: ``Scaling.to_dataset()``: variables along ``run`` and along ``cell``.

    Runs that the analysis left out are drawn hollow, and runs without a width or a task count not at all.
    """
    share = bool(result.attrs["is_share"])
    number = ".1%" if share else ".4~g"
    axis = {"tickformat": "~%" if share else "~g", "rangemode": "tozero" if share else "normal"}
    widths = np.unique(result["width"].values[np.isfinite(result["width"].values)])
    counts = np.unique(result["task_count"].values[np.isfinite(result["task_count"].values)])
    made = figure(
        height=_HEIGHT,
        title={"text": literal(str(result.attrs["long_name"]))},
        yaxis=axis,
        xaxis={
            "type": "linear",
            "tickvals": np.log2(widths).tolist(),
            "ticktext": [f"{width:g}" for width in widths],
            "title": {"text": "width (units per hidden layer, logarithmic)"},
            "range": [np.log2(widths[0]) - 0.35, np.log2(widths[-1]) + 0.35] if widths.size else None,
        },
    )
    place = min(0.12, _SPREAD / max(1, len(counts)))
    for index, (count, (colour, symbol)) in enumerate(zip(counts, categories(len(counts)), strict=True)):
        look = _Look(
            name=f"{count:g} {'task' if count == 1 else 'tasks'}",
            colour=colour,
            symbol=symbol,
            shift=place * (index - (len(counts) - 1) / 2),
            beside=0.55 * place,
            number=number,
        )
        _add_cells(made, result, count, look)
        _add_runs(made, result, count, look)
    return made


@dataclass(frozen=True, kw_only=True)
class _Look:
    """How one task count is drawn."""

    name: str
    colour: str
    symbol: str
    shift: float
    beside: float
    """How far to the right of its cell a run stands."""
    number: str


def _add_runs(made: go.Figure, result: xr.Dataset, count: float, look: _Look) -> None:
    chosen = result.isel(
        run=np.flatnonzero((result["task_count"].values == count) & np.isfinite(result["width"].values))
    )
    hollow = [bool(text) for text in chosen["left_out"].values]
    notes = [f"<br>left out: {literal(str(text))}" if text else "" for text in chosen["left_out"].values]
    made.add_scatter(
        x=(np.log2(chosen["width"].values) + look.shift + look.beside).tolist(),
        y=chosen["value"].values.tolist(),
        mode="markers",
        name=f"{look.name}, runs",
        legendgroup=look.name,
        showlegend=False,
        marker={
            "color": look.colour,
            "symbol": ["circle-open" if is_hollow else "circle" for is_hollow in hollow],
            "size": 5,
        },
        customdata=list(zip(map(literal, map(str, chosen["run"].values)), notes, strict=True)),
        hovertemplate=f"%{{customdata[0]}}<br>%{{y:{look.number}}}%{{customdata[1]}}<extra></extra>",
    )


def _add_cells(made: go.Figure, result: xr.Dataset, count: float, look: _Look) -> None:
    chosen = result.isel(cell=np.flatnonzero(result["cell_task_count"].values == count)).sortby("cell_width")
    middle, low, high = (chosen[key].values for key in ("cell_value", "cell_low", "cell_high"))
    known = np.isfinite(low) & np.isfinite(high)
    level = f"{float(result.attrs['level']):.0%} interval"
    runs = [f"interquartile mean of {n} {'run' if n == 1 else 'runs'}" for n in chosen["cell_n"].values]
    intervals = [
        f"{level} {_text(a, look.number)} to {_text(b, look.number)}" if is_known else "no interval"
        for a, b, is_known in zip(low, high, known, strict=True)
    ]
    made.add_scatter(
        x=(np.log2(chosen["cell_width"].values) + look.shift).tolist(),
        y=middle.tolist(),
        mode="lines+markers",
        name=look.name,
        legendgroup=look.name,
        line={"color": look.colour, "width": 2},
        marker={"color": look.colour, "symbol": look.symbol, "size": 9},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.where(known, high - middle, 0.0).tolist(),
            "arrayminus": np.where(known, middle - low, 0.0).tolist(),
            "color": look.colour,
            "thickness": 1.5,
            "width": 0,
        },
        customdata=list(zip(chosen["cell_width"].values, runs, intervals, strict=True)),
        hovertemplate=(
            f"{look.name}, width %{{customdata[0]:.0f}}<br>%{{y:{look.number}}}, %{{customdata[1]}}"
            "<br>%{customdata[2]}<extra></extra>"
        ),
    )


def _text(value: float, number: str) -> str:
    return f"{value:{number.replace('~', '')}}"
