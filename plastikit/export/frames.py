"""A run as plain tables: a row for each step and label, a column for each variable."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from plastikit.errors import UnknownNameError
from plastikit.schema import DIAGNOSTICS, EVALUATION, EVENT, EVENTS, LAYER, STEP, TRAINING, UNIT

Values = npt.NDArray[Any]

GROUPS: Final = (DIAGNOSTICS, TRAINING, EVALUATION, EVENTS)
LEADING: Final = (STEP, EVENT)

_BLOCK_CELLS: Final = 2**19
"""Values that are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """A column of few values that come again and again: steps and labels."""

    values: Values
    codes: npt.NDArray[np.intp]
    """Which of the values stands in each row."""

    def __len__(self) -> int:
        return len(self.codes)

    def whole(self) -> Values:
        """Each row's value."""
        return self.values[self.codes]


Block = dict[str, Repeated | Values]
"""Some rows of a table: its columns by name, all of one length."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The variables of a group that share their dimensions, as one table."""

    name: str
    """The group, and the dimensions after the leading one: ``diagnostics_layer_tau``."""
    dataset: xr.Dataset
    """Those variables, still on disk, with all coordinates of their group."""
    leading: str
    dims: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """What has a column of its own."""
        return tuple(map(str, self.dataset.data_vars))

    @property
    def cells(self) -> int:
        """Rows, before those are left out in which nothing was measured."""
        return math.prod(self.dataset.sizes[dim] for dim in (self.leading, *self.dims))

    def blocks(self) -> Iterator[Block]:
        """The rows in the order of their steps, some at a time; at least one block, which may be empty."""
        inner = math.prod(self.dataset.sizes[dim] for dim in self.dims)
        rows = max(1, _BLOCK_CELLS // max(1, inner * len(self.variables)))
        for start in range(0, max(1, self.dataset.sizes[self.leading]), rows):
            yield self._block(self.dataset.isel({self.leading: slice(start, start + rows)}))

    def _block(self, part: xr.Dataset) -> Block:
        shape = tuple(part.sizes[dim] for dim in (self.leading, *self.dims))
        columns = {name: part[name].values.reshape(-1) for name in self.variables}
        kept = _measured(list(columns.values()))
        block: Block = {}
        for place, dim in enumerate((self.leading, *self.dims)):
            positions = np.arange(shape[place]).reshape([-1 if at == place else 1 for at in range(len(shape))])
            codes = np.broadcast_to(positions, shape).reshape(-1)[kept]
            for name, values in _labels(part, dim).items():
                block[name] = Repeated(values, codes)
        return block | {name: values[kept] for name, values in columns.items()}


def frames(run: xr.DataTree, *, groups: Sequence[str] = (), variables: Sequence[str] = ()) -> list[Frame]:
    """The tables of a run; of those groups alone, and of the variables that have those names or patterns.

    A row in which nothing was measured is left out. Its columns begin with ``step`` (or ``event``), what else is known
    of the step, such as ``env_step`` and ``wall_time``, and the labels: of a unit, the name of its layer and its index
    in that layer.

    Raises:
        UnknownNameError: a group or a variable that the run does not have.
    """
    found = []
    for group, dataset in select(run, groups=groups, variables=variables).items():
        by_dims: dict[tuple[str, ...], list[str]] = {}
        for name, variable in dataset.data_vars.items():
            by_dims.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
        for (leading, *dims), names in by_dims.items():
            # Not dataset[names], which would lose the names of the layers that units belong to.
            own = dataset.drop_vars([name for name in dataset.data_vars if name not in names])
            found.append(Frame("_".join([group, *dims]), own, leading, tuple(dims)))
    return found


def select(run: xr.DataTree, *, groups: Sequence[str], variables: Sequence[str]) -> dict[str, xr.Dataset]:
    """Each group with its variables of those names or patterns; of all groups, and all variables, where none is given.

    Raises:
        UnknownNameError: a group or a variable that the run does not have.
    """
    for group in groups:
        if group not in GROUPS:
            raise UnknownNameError.of("group", group, GROUPS)
    # Coordinates of the root would be those of each group too.
    datasets = {
        group: run.children[group].to_dataset(inherit=False) for group in groups or GROUPS if group in run.children
    }
    known = {str(name) for dataset in datasets.values() for name in dataset.data_vars}
    for pattern in variables:
        if not fnmatch.filter(known, pattern):
            raise UnknownNameError.of("variable", pattern, known)
    wanted = {name for pattern in variables for name in fnmatch.filter(known, pattern)} if variables else known
    chosen = {
        group: dataset.drop_vars([name for name in dataset.data_vars if name not in wanted])
        for group, dataset in datasets.items()
    }
    return {group: dataset for group, dataset in chosen.items() if dataset.data_vars}


def _measured(columns: list[Values]) -> npt.NDArray[np.bool_]:
    """In which rows one of the columns, at least, has a value; a column that is no float has one everywhere."""
    kept = np.zeros(len(columns[0]), dtype=bool)
    for values in columns:
        kept |= ~np.isnan(values) if values.dtype.kind == "f" else True
    return kept


def _labels(part: xr.Dataset, dim: str) -> dict[str, Values]:
    """The columns that say where along ``dim`` a row stands."""
    along = {str(name): values.values for name, values in part.coords.items() if values.dims == (dim,)}
    if dim == UNIT and {"unit_layer", "unit_index"} <= along.keys():
        layers = part[LAYER].values
        return {LAYER: layers[along.pop("unit_layer")], "unit_index": along.pop("unit_index")} | along
    first = along.pop(dim, np.arange(part.sizes[dim]))
    # The clock comes last of what is known of a step: nobody groups by it.
    clock = {name: along.pop(name) for name in ("wall_time",) if name in along}
    return {dim: first} | along | clock
