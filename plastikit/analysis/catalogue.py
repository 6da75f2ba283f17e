"""Which metrics a set of runs holds, and on what each was measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from plastikit.errors import UnknownNameError
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    LAYER,
    NETWORK,
    PARAMETER,
    PROBE,
    RUN,
    STEP,
    TASK,
    TAU,
    UNIT,
    Definition,
)

POOLED: Final = "network_"
"""What the name of a variable begins with that holds one value per network where its sibling has one per layer."""

_GROUPS: Final = (DIAGNOSTICS, EVALUATION)
_NUMBERED: Final = re.compile(r"_\d+$")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity that runs can be compared in."""

    name: str
    """What to ask for: the name of a variable, without ``network_``."""
    group: str
    """``diagnostics`` or ``evaluation``."""
    definition: Definition
    axis: str | None
    """What it was measured along within a network: ``layer``, ``parameter``, ``task``, or nothing."""
    taus: tuple[float, ...]
    """Thresholds it was recorded at; empty for most."""
    pooled: str | None
    """The variable with one value per network, where the run holds one."""
    pooled_definition: Definition | None
    """The passport of that variable, which is another quantity than its sibling."""

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The passports of both variables, the pooled one first."""
        return (self.definition,) if self.pooled_definition is None else (self.pooled_definition, self.definition)

    @property
    def is_fraction(self) -> bool:
        """Whether its values are shares of something."""
        named = self.name.endswith("_fraction") or self.name == "success_rate"
        return named or self.definition.valid_range.replace(" ", "").startswith("[0,1]")

    @property
    def counts_units(self) -> bool:
        """Whether its values are shares of the units of a layer."""
        return self.is_fraction and self.axis == LAYER


def metrics(runs: xr.DataTree) -> tuple[Metric, ...]:
    """Every metric that the joined ``runs`` hold, in the order in which it lies there, evaluation last.

    What lies along ``unit`` or ``probe`` is no metric of a run, nor is what lacks the dimensions ``run`` and ``step``.
    """
    found = []
    for group in _GROUPS:
        dataset = _dataset(runs, group)
        for name in map(str, dataset.data_vars):
            dims = set(dataset[name].dims)
            stands_alone = not (name.startswith(POOLED) and name.removeprefix(POOLED) in dataset)
            if {RUN, STEP} <= dims and not {UNIT, PROBE} & dims and stands_alone:
                found.append(_describe(dataset, group, name))
    return tuple(found)


def find_metric(runs: xr.DataTree, name: str) -> Metric:
    """The metric of that name; ``network_`` before it changes nothing.

    Raises:
        UnknownNameError: the runs hold no such metric.
    """
    known = {metric.name: metric for metric in metrics(runs)}
    metric = known.get(name) or known.get(name.removeprefix(POOLED))
    if metric is None and not any(_dataset(runs, group).sizes.get(STEP, 0) for group in _GROUPS):
        raise UnknownNameError(
            f"unknown metric {name!r}: the runs hold no records yet, as those do that were interrupted in warm-up. "
            "Let them run past their first record, or open other runs"
        )
    if metric is None:
        raise UnknownNameError.of("metric", name, known)
    return metric


def networks(runs: xr.DataTree) -> dict[str, tuple[str, ...]]:
    """Networks by what stands for them: ``critic`` for ``critic_0`` and ``critic_1``, others for themselves."""
    dataset = _dataset(runs, DIAGNOSTICS)
    names: list[str] = []
    if NETWORK in dataset.coords:
        names = [str(name) for name in dataset[NETWORK].values]
    for axis in (LAYER, PARAMETER):
        if f"{axis}_network" in dataset.coords:
            names += [name for name in axis_labels(dataset[f"{axis}_network"]) if name]
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        families.setdefault(_NUMBERED.sub("", name), []).append(name)
    return {
        family if len(members) > 1 else members[0]: tuple(members)
        for family, members in sorted(families.items(), key=lambda item: (-len(item[1]), item[0]))
    }


def run_names(runs: xr.DataTree) -> list[str]:
    """Names of the joined runs, in order."""
    return [str(name) for name in runs.coords[RUN].values]


def axis_labels(coordinate: xr.DataArray) -> npt.NDArray[np.str_]:
    """Text along an axis, the same for all runs: where runs differ in having it, the text of one that has it."""
    values: npt.NDArray[Any] = np.asarray(coordinate.values).astype(str)
    if RUN not in coordinate.dims:
        return values
    columns = np.moveaxis(values, coordinate.dims.index(RUN), 0)
    return np.array([next((text for text in column if text), "") for column in columns.T], dtype=str)


def _dataset(runs: xr.DataTree, group: str) -> xr.Dataset:
    return runs[group].to_dataset() if group in runs.children else xr.Dataset()


def _describe(dataset: xr.Dataset, group: str, name: str) -> Metric:
    variable = dataset[name]
    pooled = f"{POOLED}{name}" if f"{POOLED}{name}" in dataset else None
    return Metric(
        name=name,
        group=group,
        definition=_passport(variable),
        axis=next((axis for axis in (LAYER, PARAMETER, TASK) if axis in variable.dims), None),
        taus=tuple(float(tau) for tau in dataset[TAU].values) if TAU in variable.dims else (),
        pooled=pooled,
        pooled_definition=_passport(dataset[pooled]) if pooled else None,
    )


def _passport(variable: xr.DataArray) -> Definition:
    dims = tuple(str(dim) for dim in variable.dims if dim not in (RUN, STEP))
    return Definition.from_attrs(str(variable.name), dims, {str(key): value for key, value in variable.attrs.items()})
