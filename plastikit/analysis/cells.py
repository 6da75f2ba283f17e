"""Runs reduced to one number each, and gathered in cells of one task count and one width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from plastikit.analysis.aggregate import bootstrap_interval, interquartile_mean
from plastikit.analysis.catalogue import run_names
from plastikit.analysis.selection import Selection
from plastikit.analysis.window import last_step, window_mean
from plastikit.schema import FAILED, FINISHED, INTERRUPTED, RUN, RUNNING


@dataclass(frozen=True, kw_only=True)
class RunValue:
    """One run, reduced to one number."""

    run: str
    state: str
    task_count: int | None
    width: int | None
    depth: int | None
    seed: int | None
    architecture: str | None
    value: float
    """Mean over the final window; NaN where nothing was measured."""
    units: float
    """Of how many units the value is a share; NaN where it is no share of units."""
    last_step: float
    """The last step at which the metric was recorded; NaN where it never was."""
    left_out: str
    """Why the run counts in no cell and no slope; empty where it does."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The runs of one task count and one width."""

    task_count: int | None
    width: int | None
    runs: tuple[str, ...]
    values: tuple[float, ...]
    interquartile_mean: float
    low: float
    high: float
    method: str
    """How the interval was found, or why there is none."""

    @property
    def n(self) -> int:
        """Runs in the cell."""
        return len(self.runs)


def run_values(runs: xr.DataTree, selection: Selection, *, window: float, unfinished: bool) -> tuple[RunValue, ...]:
    """Every run with the mean of its curve over the final window, and why it is left out, if it is.

    Runs without a finite value are left out, and so are runs that did not finish unless ``unfinished`` is given.
    """
    curve = selection.curve.load()
    values, last = window_mean(curve, window).values, last_step(curve).values
    units = np.full(len(values), math.nan) if selection.units is None else selection.units.values
    found = []
    for position in range(curve.sizes[RUN]):
        state = _text(runs, "state", position) or ""
        value = float(values[position])
        reason = ""
        if not math.isfinite(value):
            reason = f"has no finite {selection.metric.name}"
        elif state != FINISHED and not unfinished:
            reason = in_words(state)
        found.append(
            RunValue(
                **run_coordinates(runs, position),
                value=value,
                units=float(units[position]),
                last_step=float(last[position]),
                left_out=reason,
            )
        )
    return tuple(found)


def in_words(state: str) -> str:
    """How a run ended, as the end of a sentence that begins with its name."""
    return {RUNNING: "is still running", INTERRUPTED: "was interrupted", FAILED: "failed"}.get(state, f"is {state!r}")


def gather_cells(counted: list[RunValue], level: float) -> tuple[Cell, ...]:
    """Cells in the order of task count and width."""
    places: dict[tuple[int | None, int | None], list[RunValue]] = {}
    for value in counted:
        places.setdefault((value.task_count, value.width), []).append(value)
    cells = []
    for (task_count, width), members in sorted(places.items(), key=lambda place: tuple(x or -1 for x in place[0])):
        values = np.array([member.value for member in members])
        interval = bootstrap_interval([values], level=level)
        cells.append(
            Cell(
                task_count=task_count,
                width=width,
                runs=tuple(member.run for member in members),
                values=tuple(float(value) for value in values),
                interquartile_mean=float(interquartile_mean(values)),
                low=interval.low,
                high=interval.high,
                method=interval.method,
            )
        )
    return tuple(cells)


def run_coordinates(runs: xr.DataTree, position: int) -> dict[str, Any]:
    """Name and state of the run at ``position``, and where it stands: None where that was not given."""
    whole = {name: _whole(runs, name, position) for name in ("task_count", "width", "depth", "seed")}
    return (
        {"run": run_names(runs)[position], "state": _text(runs, "state", position) or ""}
        | {"architecture": _text(runs, "architecture", position)}
        | whole
    )


def _whole(runs: xr.DataTree, coordinate: str, position: int) -> int | None:
    if coordinate not in runs.coords:
        return None
    value = runs.coords[coordinate].values[position]
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _text(runs: xr.DataTree, coordinate: str, position: int) -> str | None:
    value = runs.coords[coordinate].values[position] if coordinate in runs.coords else None
    return value if isinstance(value, str) and value else None
