"""One run, layer by layer over its steps."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import numpy as np
import xarray as xr

from plastikit.analysis.catalogue import Metric, axis_labels, find_metric
from plastikit.analysis.selection import at_threshold
from plastikit.schema import LAYER, PARAMETER, RUN, STEP, TAU

MOST_STEPS: Final = 200
"""Columns of a history: more could not be told apart on a screen."""

_WEIGHTS: Final = "weight"


def has_history(metric: Metric) -> bool:
    """Whether the metric was measured layer by layer, or parameter by parameter."""
    return metric.axis in (LAYER, PARAMETER)


def layer_history(
    runs: xr.DataTree,
    metric: str,
    *,
    tau: float | None = None,
    pattern: str = "*",
    most_steps: int = MOST_STEPS,
) -> list[xr.DataArray]:
    """The metric of each run as ``[layer, step]``, thinned to evenly spaced records.

    The first and the last record are always among them. Of metrics that belong to parameters the weights are shown,
    without biases. Layers and steps that a run does not have are left out of its array, and a run that has none
    gives an empty one.

    Args:
        runs: joined runs, as ``open_runs`` gives them.
        metric: name of a metric that was measured by layer or by parameter.
        tau: dormancy threshold; 0.025 by default.
        pattern: which layers or parameters, such as ``actor.*``.
        most_steps: columns at most.

    Raises:
        UnknownNameError: there is no such metric or threshold.
    """
    found = find_metric(runs, metric)
    dataset = runs[found.group].to_dataset()
    values = dataset[found.name]
    axis = found.axis or LAYER
    if TAU in values.dims:
        values, _ = at_threshold(values, tau)
    values = values.mean([dim for dim in values.dims if dim not in (RUN, STEP, axis)])
    names = [str(name) for name in dataset[axis].values]
    wanted = np.array([fnmatchcase(name, pattern) for name in names], dtype=bool)
    if axis == PARAMETER and "parameter_kind" in dataset.coords:
        kinds = axis_labels(dataset["parameter_kind"])
        wanted &= (kinds == _WEIGHTS) | (_WEIGHTS not in kinds)
    values = values.isel({axis: np.flatnonzero(wanted)}).reset_coords(drop=True).transpose(RUN, axis, STEP).load()
    return [_own(values.isel({RUN: position}), axis, most_steps) for position in range(values.sizes[RUN])]


def _own(values: xr.DataArray, axis: str, most_steps: int) -> xr.DataArray:
    measured = values.notnull()
    steps = np.flatnonzero(measured.any(axis).values)
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), most_steps)).round().astype(int))]
    return values.isel({axis: np.flatnonzero(measured.any(STEP).values), STEP: kept})
