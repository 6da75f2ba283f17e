"""One run as xarray has it, its variables read when they are asked for."""

from __future__ import annotations

import xarray as xr

from plastikit.record.committed import COORDINATES, Kinds, read_groups, read_root
from plastikit.record.place import Place
from plastikit.record.stored import wholes
from plastikit.record.variables import lazy_variable


def open_place(place: Place) -> xr.DataTree:
    """The run at ``place``, with its variables still where they lie.

    Raises:
        NotARunError: there is no run.
        DamagedError: the root, or an array that names steps or labels, is not what was written.
        SchemaVersionError: the run was written by a newer plastikit.
    """
    document = read_root(place)
    groups = read_groups(place, document, Kinds())
    indexes = [array for group in groups.values() for array in group.indexes.values()]
    values = dict(zip(indexes, wholes(indexes), strict=True))
    datasets = {"/": xr.Dataset(attrs=document["attributes"])}
    for name, group in groups.items():
        variables = {
            key: xr.Variable(array.kind.dims, values[array], array.kind.attributes)
            if array in values
            else lazy_variable(array, array.kind.dims, array.kind.attributes)
            for key, array in group.arrays.items()
        }
        attributes = {key: value for key, value in group.attributes.items() if key != COORDINATES}
        datasets[f"/{name}"] = xr.Dataset(
            {key: variable for key, variable in variables.items() if key not in group.coordinates},
            {key: variable for key, variable in variables.items() if key in group.coordinates},
            attributes,
        )
    return xr.DataTree.from_dict(datasets)
