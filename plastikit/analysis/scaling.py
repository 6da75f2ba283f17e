"""How a metric changes with the width of the network and the number of tasks, over runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from plastikit.analysis.cells import Cell, RunValue, gather_cells, run_values
from plastikit.analysis.notes import batch_notes, notes
from plastikit.analysis.plain import to_plain
from plastikit.analysis.regression import Observations, Scale
from plastikit.analysis.selection import select
from plastikit.analysis.slopes import Slope, fit_slopes
from plastikit.analysis.window import FINAL_WINDOW
from plastikit.schema import RUN, Definition


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """A metric against width and task count: every run, every cell, every slope."""

    metric: str
    definition: Definition
    """The passport of the variable that was read: of whole networks where the runs hold that and no part was named."""
    averaged: str
    """What was reduced within each run, in words."""
    is_share: bool
    window: float
    level: float
    runs: tuple[RunValue, ...]
    cells: tuple[Cell, ...]
    slopes: tuple[Slope, ...]
    """Width, tasks and interaction, on the metric's own scale first and as differences after."""
    notes: tuple[str, ...]
    """What a reader has to know of the runs that are missing, unfinished or unlike the others."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        plain: dict[str, Any] = to_plain(self)
        plain["definition"]["dims"] = list(self.definition.dims)
        for cell, entry in zip(self.cells, plain["cells"], strict=True):
            entry["n"] = cell.n
        for slope, entry in zip(self.slopes, plain["slopes"], strict=True):
            entry["factor"], entry["factor_low"], entry["factor_high"] = to_plain(slope.factor)
            entry["reading"] = slope.reading
        return plain

    def to_dataset(self) -> xr.Dataset:
        """The same for figures: variables along ``cell`` and along ``run``."""
        cells, runs = self.cells, self.runs

        def numbers(values: list[float | int | None]) -> npt.NDArray[np.float64]:
            return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

        return xr.Dataset(
            {
                "cell_value": ("cell", numbers([cell.interquartile_mean for cell in cells])),
                "cell_low": ("cell", numbers([cell.low for cell in cells])),
                "cell_high": ("cell", numbers([cell.high for cell in cells])),
                "cell_task_count": ("cell", numbers([cell.task_count for cell in cells])),
                "cell_width": ("cell", numbers([cell.width for cell in cells])),
                "cell_n": ("cell", np.array([cell.n for cell in cells], dtype=np.int64)),
                "value": (RUN, numbers([run.value for run in runs])),
                "task_count": (RUN, numbers([run.task_count for run in runs])),
                "width": (RUN, numbers([run.width for run in runs])),
                "seed": (RUN, numbers([run.seed for run in runs])),
                "left_out": (RUN, np.array([run.left_out for run in runs], dtype=object)),
            },
            coords={RUN: np.array([run.run for run in runs], dtype=object)},
            attrs={
                "metric": self.metric,
                "long_name": self.definition.long_name or self.metric,
                "units": self.definition.units,
                "averaged": self.averaged,
                "is_share": self.is_share,
                "level": self.level,
            },
        )


def scaling(
    runs: xr.DataTree,
    metric: str,
    *,
    network: str | None = None,
    layer: str | None = None,
    parameter: str | None = None,
    tau: float | None = None,
    window: float = FINAL_WINDOW,
    level: float = 0.95,
    unfinished: bool = False,
) -> Scaling:
    """Compare ``metric`` between runs of different width and task count.

    Each run becomes one number: its metric averaged over layers, networks and tasks, then over the final window.
    A cell is the interquartile mean of its runs with a bootstrap interval. Shares get slopes in log-odds, other
    metrics in log2, and both as plain differences beside it: an interaction can hold on one scale and fail on the
    other.

    Args:
        runs: joined runs, as ``open_runs`` gives them.
        metric: name of a variable in diagnostics or evaluation.
        network: one network, or ``critic`` for ``critic_0``, ``critic_1``, ...; all of them by default.
        layer: name of a layer, or a pattern.
        parameter: name of a parameter, or a pattern.
        tau: dormancy threshold; 0.025 by default.
        window: share of a run's records that are averaged at its end.
        level: of the intervals.
        unfinished: whether runs count that did not finish; they are named in ``notes`` either way.

    Raises:
        UnknownNameError: there is no such metric, network, layer, parameter or threshold.
    """
    selection = select(runs, metric, network=network, layer=layer, parameter=parameter, tau=tau)
    values = run_values(runs, selection, window=window, unfinished=unfinished)
    counted = [value for value in values if not value.left_out]
    share = selection.metric.is_fraction
    scales: tuple[Scale, Scale] = ("log-odds" if share else "log2", "difference")
    placed = [value for value in counted if value.width is not None and value.task_count is not None]
    observed = Observations(
        values=np.array([value.value for value in placed], dtype=np.float64),
        clusters=_clusters(runs, placed),
        units=None if selection.units is None else np.array([value.units for value in placed], dtype=np.float64),
    )
    slopes = tuple(
        slope
        for scale in scales
        for slope in fit_slopes(
            observed,
            widths=np.array([value.width for value in placed], dtype=np.float64),
            task_counts=np.array([value.task_count for value in placed], dtype=np.float64),
            scale=scale,
            is_share=share,
            level=level,
        )
    )
    return Scaling(
        metric=selection.metric.name,
        definition=selection.definition,
        averaged=selection.label,
        is_share=share,
        window=window,
        level=level,
        runs=values,
        cells=gather_cells(counted, level),
        slopes=slopes,
        notes=(*notes(values, counted, placed), *batch_notes(runs, selection, counted)),
    )


def _clusters(runs: xr.DataTree, placed: list[RunValue]) -> npt.NDArray[np.int64]:
    attributes: Mapping[str, Any] = runs.attrs.get("runs", {})
    keys = []
    for value in placed:
        tasks = attributes.get(value.run, {}).get("configuration", {}).get("tasks")
        named = isinstance(tasks, list | tuple)
        keys.append((tuple(map(str, tasks)) if named and tasks else value.task_count, value.seed))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)
