"""Many runs as one: the same group of each, side by side along a ``run`` dimension, with nothing read but labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.errors import DefinitionMismatchError
from plastikit.record.alignment import Axis, by_label, by_position
from plastikit.record.committed import COORDINATES, Group, Kinds, read_groups, read_root
from plastikit.record.crew import each
from plastikit.record.decoding import Kind, Values
from plastikit.record.joined import JoinedArray
from plastikit.record.place import Place
from plastikit.record.stored import StoredArray, wholes
from plastikit.record.variables import lazy_variable
from plastikit.schema import DIAGNOSTICS, EVALUATION, LAYER, PARAMETER, RUN, STEP, TRAINING, UNIT, Definition

JOINED: Final = (DIAGNOSTICS, TRAINING, EVALUATION)

_OF_LABELS: Final = {"layer_network": LAYER, "parameter_network": PARAMETER, "parameter_kind": PARAMETER}
"""What is the same in all runs that have the label."""
_UNIT_LAYER: Final = "unit_layer"
_MISSING: Final[Mapping[str, Any]] = {"f": np.nan, "i": -1, "O": ""}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run among others."""

    name: str
    attributes: Mapping[str, Any]
    groups: Mapping[str, Group]
    labels: Mapping[str, Mapping[str, Values]]
    """Group -> array -> its values, for all that names positions."""


def read_members(names: Sequence[str], places: Sequence[Place]) -> list[Member]:
    """The runs at ``places``, with their labels.

    Raises:
        NotARunError: one of them is no run.
        DamagedError: a root, or an array that names steps or labels, is not what was written.
        SchemaVersionError: a run was written by a newer plastikit.
    """
    kinds = Kinds()
    alike: dict[Any, Values] = {}

    def member(at: int) -> Member:
        document = read_root(places[at])
        groups = read_groups(places[at], document, kinds)
        wanted = {
            (group, name): array
            for group in JOINED
            for name, array in groups[group].arrays.items()
            if array.kind.dims == (name,) or name in _OF_LABELS
        }
        labels: dict[str, dict[str, Values]] = {group: {} for group in JOINED}
        for (group, name), values in zip(wanted, wholes(list(wanted.values())), strict=True):
            key = tuple(values.tolist()) if values.dtype.kind == "O" else values.tobytes()
            labels[group][name] = alike.setdefault((values.dtype, key), values)
        return Member(name=names[at], attributes=document["attributes"], groups=groups, labels=labels)

    return each(member, range(len(places)), places)


def check_definitions(members: Sequence[Member]) -> None:
    """Make sure that each variable means the same in all runs.

    Raises:
        DefinitionMismatchError: one does not; the message says in which runs, and how they differ.
    """
    first: dict[str, tuple[str, Kind]] = {}
    # Arrays that are alike share their kind: of a thousand runs, few kinds are looked at.
    seen: set[tuple[str, Kind]] = set()
    for member in members:
        for group in JOINED:
            coordinates = member.groups[group].coordinates
            for name, array in member.groups[group].arrays.items():
                if (array.key, array.kind) in seen or name in coordinates:
                    continue
                seen.add((array.key, array.kind))
                where, known = first.setdefault(array.key, (member.name, array.kind))
                _compare(name, (where, known), (member.name, array.kind))


def join(members: Sequence[Member], group: str, run_coordinates: Mapping[str, Any]) -> xr.Dataset:
    """One group of all runs."""
    groups = [member.groups[group] for member in members]
    labels = [member.labels[group] for member in members]
    found: dict[str, list[StoredArray | None]] = {}
    for at, own in enumerate(groups):
        for name, array in own.arrays.items():
            found.setdefault(name, [None] * len(groups))[at] = array
    axes = _axes(found, labels)
    of_labels = {name: dim for name, dim in _OF_LABELS.items() if name in found}
    plain = [name for name in found if name not in axes and name not in of_labels]
    variables = {name: _variable(found[name], axes, _recodings(name, axes)) for name in plain}
    coordinates = {name for own in groups for name in own.coordinates}
    indexes = {dim: (dim, axis.labels) for dim, axis in axes.items() if axis.labels is not None}
    return xr.Dataset(
        {name: variable for name, variable in variables.items() if name not in coordinates},
        {
            **{name: variable for name, variable in variables.items() if name in coordinates},
            **indexes,
            **{name: (dim, _of_labels(name, dim, axes[dim], labels)) for name, dim in of_labels.items()},
            **run_coordinates,
        },
        {key: value for key, value in groups[0].attributes.items() if key != COORDINATES},
    )


def _compare(name: str, ours: tuple[str, Kind], theirs: tuple[str, Kind]) -> None:
    passports = [Definition.from_attrs(name, kind.dims[1:], kind.attributes) for _, kind in (ours, theirs)]
    differences = passports[0].differences(passports[1])
    if ours[1].dims != theirs[1].dims:
        along = [", ".join(kind.dims) for _, kind in (ours, theirs)]
        differences.append(f"it stands along {along[0]} in one and {along[1]} in the other")
    if differences:
        raise DefinitionMismatchError(
            f"{name} is not the same quantity in all runs: comparing {ours[0]} with {theirs[0]}, "
            f"{'; '.join(differences)}. Open the runs of each definition apart"
        )


def _axes(found: Mapping[str, Sequence[StoredArray | None]], labels: Sequence[Mapping[str, Values]]) -> dict[str, Axis]:
    sizes: dict[str, list[int | None]] = {}
    for arrays in found.values():
        for at, array in enumerate(arrays):
            if array is not None:
                for dim, size in zip(array.kind.dims, array.shape, strict=True):
                    sizes.setdefault(dim, [None] * len(arrays))[at] = size
    axes = {}
    for dim, own in sizes.items():
        if dim in found:
            is_lost = _is_lost if dim == STEP else None
            axes[dim] = by_label([entry.get(dim) for entry in labels], is_lost=is_lost)
        else:
            axes[dim] = by_position(own)
    if UNIT in axes:
        axes[UNIT] = Axis(axes[UNIT].size, np.arange(axes[UNIT].size), axes[UNIT].lookups)
    return axes


def _is_lost(steps: Values) -> Values:
    """Steps that a repair could not bring back are negative."""
    lost: Values = steps < 0
    return lost


def _variable(
    arrays: Sequence[StoredArray | None], axes: Mapping[str, Axis], recodings: Sequence[Values | None] | None
) -> xr.Variable:
    kinds = list(dict.fromkeys(array.kind for array in arrays if array is not None))
    is_text = any(kind.is_text for kind in kinds)
    dtype = np.dtype(object) if is_text else np.result_type(*(kind.dtype for kind in kinds))
    dims = kinds[0].dims
    source = JoinedArray(arrays, [axes[dim] for dim in dims], dtype, _MISSING[dtype.kind], recodings)
    return lazy_variable(source, (RUN, *dims), kinds[0].attributes)


def _recodings(name: str, axes: Mapping[str, Axis]) -> list[Values | None] | None:
    """What a run's own number of a layer is along the joined layers."""
    if name != _UNIT_LAYER or LAYER not in axes:
        return None
    recodings: dict[int, Values | None] = {}
    for lookup in axes[LAYER].lookups:
        if lookup is None:
            recodings[id(lookup)] = None
        elif id(lookup) not in recodings:
            joined = np.flatnonzero(lookup >= 0)
            recodings[id(lookup)] = joined[np.argsort(lookup[joined])]
    return [recodings[id(lookup)] for lookup in axes[LAYER].lookups]


def _of_labels(name: str, dim: str, axis: Axis, labels: Sequence[Mapping[str, Values]]) -> Values:
    known: dict[str, str] = {}
    seen = set()
    for own in labels:
        if name in own and (pair := (id(own[dim]), id(own[name]))) not in seen:
            seen.add(pair)
            known |= dict(zip(own[dim].tolist(), own[name].tolist(), strict=True))
    return np.array([known.get(label, "") for label in ([] if axis.labels is None else axis.labels)], dtype=object)
