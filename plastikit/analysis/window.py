"""From the records of a run to one number: the mean over a final window."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from plastikit.schema import STEP

FINAL_WINDOW: Final = 0.1
"""Share of a run's records that its final window holds."""


def final_window(curve: xr.DataArray, share: float = FINAL_WINDOW) -> xr.DataArray:
    """The last ``share`` of each run's records, and at least one, as a mask ``[run, step]``.

    Runs are joined along ``step``; a step at which a run has no value is none of its records.
    """
    recorded = curve.notnull()
    wanted = np.maximum(np.ceil(share * recorded.sum(STEP) - 1e-9), 1.0)
    backwards = {STEP: slice(None, None, -1)}
    from_the_end = recorded.isel(backwards).cumsum(STEP).isel(backwards)
    return recorded & (from_the_end.assign_coords(recorded.coords) <= wanted)


def window_mean(curve: xr.DataArray, share: float = FINAL_WINDOW) -> xr.DataArray:
    """Mean over the final window of each run; NaN for a run without a record."""
    return curve.where(final_window(curve, share)).mean(STEP, skipna=True)


def last_step(curve: xr.DataArray) -> xr.DataArray:
    """The step of each run's last record; NaN for a run without one."""
    return curve[STEP].where(curve.notnull()).max(STEP, skipna=True)
