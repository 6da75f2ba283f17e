"""How a variable of a run went: a course over the steps for each layer, network or task it was measured for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from plastikit.errors import UnknownNameError
from plastikit.schema import DIAGNOSTICS, EVALUATION, LAYER, STEP, TRAINING, UNIT, Definition

_GROUPS: Final = (DIAGNOSTICS, TRAINING, EVALUATION)
_MOST_STEPS_OF_UNITS: Final = 64
"""Steps at which a variable with a value for each unit is read: it is most of a run."""


@dataclass(frozen=True, eq=False)
class Course:
    """One number at each step, NaN where it was not measured."""

    labels: Mapping[str, Any]
    """What it was measured for, by dimension."""
    values: npt.NDArray[np.float64]

    @property
    def measured(self) -> npt.NDArray[np.float64]:
        """The finite values in their order."""
        return self.values[np.isfinite(self.values)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Courses:
    """A variable of a run, with its passport."""

    group: str
    passport: Definition
    averaged: str
    """What was averaged, in words; empty where nothing was."""
    steps: npt.NDArray[np.int64]
    courses: tuple[Course, ...]

    @property
    def measured_steps(self) -> npt.NDArray[np.int64]:
        """Steps at which there is a value."""
        found = [np.isfinite(course.values) for course in self.courses]
        return self.steps[np.any(found, axis=0)] if found else self.steps[:0]


def courses(run: xr.DataTree, name: str) -> Courses:
    """The courses of the variable ``name``, or ``group/name``; of units the mean over each layer, at up to 64 steps.

    Raises:
        UnknownNameError: the run holds no such variable.
    """
    known = {
        f"{group}/{variable}": (group, str(variable))
        for group in _GROUPS
        if group in run.children
        for variable in run[group].data_vars
    }
    place = known.get(name) or next((known[each] for each in known if known[each][1] == name), None)
    if place is None:
        raise UnknownNameError.of("metric", name, {variable for _, variable in known.values()})
    group, variable = place
    dataset = run[group].to_dataset()
    found = dataset[variable]
    averaged = ""
    if UNIT in found.dims:
        if found.sizes[STEP] > _MOST_STEPS_OF_UNITS:
            found = found.isel({STEP: np.linspace(0, found.sizes[STEP] - 1, _MOST_STEPS_OF_UNITS).round().astype(int)})
        found, averaged = _layer_means(found, dataset), "mean over the units of each layer"
    return Courses(
        group=group,
        passport=Definition.from_attrs(
            variable,
            tuple(map(str, dataset[variable].dims[1:])),
            {str(key): value for key, value in found.attrs.items()},
        ),
        averaged=averaged,
        steps=found[STEP].values,
        courses=_split(found),
    )


def _layer_means(values: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    layers = dataset[LAYER].values
    of_layers = dataset["unit_layer"].values
    axis = values.dims.index(UNIT)
    numbers = values.values
    means = [
        np.ma.masked_invalid(np.compress(of_layers == place, numbers, axis)).mean(axis, dtype=np.float64).filled(np.nan)
        for place in range(len(layers))
    ]
    dims = [LAYER if dim == UNIT else dim for dim in values.dims]
    kept = {name: values.coords[name] for name in values.dims if name in values.coords and name != UNIT}
    return xr.DataArray(np.stack(means, axis), dims=dims, coords={**kept, LAYER: layers}, attrs=values.attrs)


def _split(values: xr.DataArray) -> tuple[Course, ...]:
    dims = [str(dim) for dim in values.dims if dim != STEP]
    labels = [values[dim].values.tolist() if dim in values.coords else range(values.sizes[dim]) for dim in dims]
    flat = values.transpose(STEP, *dims).values.astype(np.float64).reshape(values.sizes[STEP], -1)
    return tuple(
        Course(dict(zip(dims, found, strict=True)), flat[:, column])
        for column, found in enumerate(itertools.product(*labels))
    )
