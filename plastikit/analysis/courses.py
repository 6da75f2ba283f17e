"""A metric over the course of training, one curve per run."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from plastikit.analysis.selection import select
from plastikit.schema import RUN, STEP

MOST_POINTS: Final = 400
"""Records of a course: more could not be told apart on a screen."""


def course(
    runs: xr.DataTree,
    metric: str,
    *,
    network: str | None = None,
    tau: float | None = None,
    most_points: int = MOST_POINTS,
) -> xr.DataArray:
    """The metric of every run as ``[run, step]``, averaged within the run, thinned to evenly spaced records.

    The first and the last record are always among them; steps that a run does not have are NaN in it. The coordinate
    ``state`` says how each run ended.

    Raises:
        UnknownNameError: there is no such metric, network or threshold.
    """
    selection = select(runs, metric, network=network, tau=tau)
    curve = selection.curve.load()
    steps = np.flatnonzero(curve.notnull().any("run").values)
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, min(len(steps), most_points)).round().astype(int))]
    found = curve.isel({STEP: kept}).reset_coords(drop=True)
    states = [str(state) for state in runs.coords["state"].values]
    return found.assign_coords(state=(RUN, states)).assign_attrs(
        long_name=selection.definition.long_name or metric,
        is_share=selection.metric.is_fraction,
        averaged=selection.label,
    )
