"""Linear and binomial models of one value per run, with errors that hold where runs share tasks and seed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Scale = Literal["log-odds", "log2", "difference"]


@dataclass(frozen=True, kw_only=True)
class Observations:
    """One value per run, and which runs are not independent of each other."""

    values: Values
    clusters: npt.NDArray[np.int64]
    """Runs that share tasks and seed share a number."""
    units: Values | None = None
    """Of how many units each value is a share."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients of a model and their intervals, NaN where there are too few clusters."""

    estimates: Values
    low: Values
    high: Values
    method: str
    note: str


_TOO_FEW: Final = "No interval: runs that share tasks and seed are not independent, which leaves too few sets ({})."


def obstacle(observed: Observations, cells: npt.NDArray[np.int64], scale: Scale) -> str:
    """Why the values cannot be modelled on ``scale``, in a sentence; empty where they can.

    ``cells`` numbers the place of each run on the grid of widths and task counts.
    """
    values = observed.values
    if values.size == 0:
        return "No run counts."
    if np.ptp(values) == 0.0:
        return f"All runs have the value {values[0]:g}."
    if scale == "difference":
        return ""
    if scale == "log2":
        return "" if (values > 0.0).all() else "Some values are zero or negative, and have no logarithm."
    if observed.units is None and any(_extreme(values[cells == cell]) for cell in np.unique(cells)):
        return "In some cell all runs are at 0 or all at 1, where the odds have no logarithm."
    return ""


def fit(observed: Observations, cells: npt.NDArray[np.int64], design: Values, scale: Scale, *, level: float) -> Fit:
    """Fit ``values ~ design`` on ``scale``; the columns of ``design`` must be independent.

    Shares of units are counts d of n in a binomial generalised linear model. Where all runs of a cell are at 0 or at
    1, its odds have no logarithm: half a unit is then added to each count, d + ½ of n + 1, in all runs.

    NaN: intervals with no more clusters than coefficients.
    """
    # Both packages take longer to load than all else that reading needs together.
    from scipy.stats import t as student  # noqa: PLC0415
    from statsmodels.genmod.families import Binomial  # noqa: PLC0415
    from statsmodels.genmod.generalized_linear_model import GLM  # noqa: PLC0415
    from statsmodels.regression.linear_model import OLS  # noqa: PLC0415

    note = ""
    if scale == "log-odds":
        response: Values = observed.values
        name = "fractional logit"
        if observed.units is not None:
            dormant, whole = observed.values * observed.units, observed.units
            if any(_extreme(observed.values[cells == cell]) for cell in np.unique(cells)):
                dormant, whole = dormant + 0.5, whole + 1.0
                note = "Half a unit was added to each count, since a cell is all at 0 or all at 1."
            response = np.column_stack([dormant, whole - dormant])
            name = "binomial GLM on counts of units"
        model = GLM(response, design, family=Binomial())
    else:
        model = OLS(np.log2(observed.values) if scale == "log2" else observed.values, design)
        name = "least squares on log2 of the value" if scale == "log2" else "least squares on the value"

    coefficients = design.shape[1]
    clusters = len(np.unique(observed.clusters))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a saturated model warns about its errors, which are not used then
        result = (
            model.fit(cov_type="cluster", cov_kwds={"groups": observed.clusters})
            if clusters > coefficients
            else model.fit()
        )
    estimates = np.asarray(result.params, dtype=np.float64)
    if clusters <= coefficients:
        few = _TOO_FEW.format(clusters)
        unknown = np.full(coefficients, np.nan)
        return Fit(estimates=estimates, low=unknown, high=unknown, method=name, note=f"{note} {few}".strip())
    # A perfect fit leaves variances of rounding size, which may fall below zero.
    errors = np.sqrt(np.maximum(np.diag(np.asarray(result.cov_params(), dtype=np.float64)), 0.0))
    reach = float(student.ppf((1.0 + level) / 2.0, clusters - coefficients)) * errors
    method = f"{name}, errors robust to {clusters} clusters, t with {clusters - coefficients} degrees of freedom"
    return Fit(estimates=estimates, low=estimates - reach, high=estimates + reach, method=method, note=note)


def _extreme(values: Values) -> bool:
    return bool((values == 0.0).all() or (values == 1.0).all())
