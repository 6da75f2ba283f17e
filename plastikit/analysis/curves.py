"""Evaluation over the course of training: per task, and as the mean of a run's tasks."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from plastikit.analysis.catalogue import find_metric
from plastikit.analysis.cells import run_coordinates
from plastikit.schema import RUN, STEP, TASK

PROGRESS: Final = "progress"
"""Environment steps where they were recorded, gradient steps elsewhere."""


def task_curves(runs: xr.DataTree, metric: str = "success_rate") -> list[xr.Dataset]:
    """The metric of each run over its own records: ``per_task`` along ``[task, step]`` and ``mean`` along ``[step]``.

    The coordinate ``progress`` counts environment steps, or gradient steps in runs that have none, and its attribute
    ``long_name`` says which. The attributes hold where the run stands. A run that was never evaluated has no steps.

    Raises:
        UnknownNameError: the runs hold no such metric.
    """
    found = find_metric(runs, metric)
    dataset = runs[found.group].to_dataset()
    values = dataset[found.name]
    if TASK not in values.dims:
        values = values.expand_dims({TASK: [""]})
    values = values.mean([dim for dim in values.dims if dim not in (RUN, STEP, TASK)]).transpose(RUN, TASK, STEP).load()
    shared = {"metric": metric, "long_name": found.definition.long_name or metric, "is_share": found.is_fraction}
    curves = []
    for position in range(values.sizes[RUN]):
        own = values.isel({RUN: position})
        measured = own.notnull()
        tasks, steps = (np.flatnonzero(measured.any(other).values) for other in (STEP, TASK))
        own = own.isel({TASK: tasks, STEP: steps}).reset_coords(drop=True).drop_attrs()
        progress = _progress(dataset, position, steps)
        curves.append(
            xr.Dataset({"per_task": own, "mean": own.mean(TASK, skipna=False)}, attrs=shared)
            .assign_coords({PROGRESS: progress})
            .assign_attrs(run_coordinates(runs, position))
        )
    return curves


def _progress(dataset: xr.Dataset, position: int, steps: np.ndarray[tuple[int], np.dtype[np.intp]]) -> xr.Variable:
    counted = dataset.coords.get("env_step")
    if counted is not None:
        own = counted.isel({RUN: position}) if RUN in counted.dims else counted
        values = np.asarray(own.values, dtype=np.float64)[steps]
        if (np.isfinite(values) & (values >= 0.0)).all():
            return xr.Variable(STEP, values, {"long_name": "environment steps"})
    return xr.Variable(STEP, dataset[STEP].values[steps].astype(np.float64), {"long_name": "gradient steps"})
