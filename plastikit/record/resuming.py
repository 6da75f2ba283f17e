"""A run that lies on disk made ready to be gone on with, from a step on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from plastikit.errors import ConfigurationError, SchemaVersionError
from plastikit.record.columns import Columns
from plastikit.record.committed import Group, Kinds, read_groups, read_root
from plastikit.record.encoding import TEXT, ArrayKind
from plastikit.record.growing import GrowingArray
from plastikit.record.place import Place
from plastikit.record.stored import StoredArray, wholes
from plastikit.record.table import Column, Row, Table
from plastikit.schema import EVENT, RUNNING, SCHEMA_VERSION


class Resumption(Protocol):
    """From where a run is gone on with, as it was when that was saved."""

    @property
    def run(self) -> str:
        """The run's id."""
        ...

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows that it held, by group."""
        ...

    @property
    def step(self) -> int:
        """What it holds of later steps is taken out, to be recorded again; a record of this step is joined."""
        ...


def restored(
    place: Place,
    resume: Resumption,
    tables: Mapping[str, Table],
    columns: Sequence[Columns],
    attributes: Mapping[str, Any],
) -> tuple[dict[str, Any], int]:
    """Fill ``tables`` and ``columns`` with what lies at ``place`` up to the step of ``resume``, its row included.

    What was recorded at later steps will be recorded again, and is taken out. Returns the root's attributes, those of
    the run joined with ``attributes``, and how many rows were taken out.

    Raises:
        ConfigurationError: the run was made with other settings.
        DamagedError: what is needed of the run is not what was written.
        NotARunError: there is no run.
        SchemaVersionError: the run has another layout than this version writes.
    """
    document = read_root(place)
    known = document["attributes"]
    if known["schema_version"] != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{place.location} has schema version {known['schema_version']}, and this plastikit goes on only with "
            f"version {SCHEMA_VERSION}; record to a new run"
        )
    if known.get("id") != resume.run:
        raise ConfigurationError(
            f"{place.location} is another run than the one that the state was saved with; "
            "give that run, or the state of this one"
        )
    _check_settings(place, known, attributes)
    groups = read_groups(place, document, Kinds())
    lost: dict[str, set[str]] = {each.name: set() for each in columns}
    for entry in known.get("dropped", ()):
        lost[entry["group"]].add(entry.get("variable", ""))
    excess = sum(_restore(groups[each.name], tables[each.name], each, resume.step, lost[each.name]) for each in columns)
    past = {key: value for key, value in known["provenance"].items() if key != "ended"}
    resumed = [*past.pop("resumed", ()), attributes["provenance"]]
    kept = {key: value for key, value in known.items() if key != "error"}
    return kept | {"state": RUNNING, "provenance": past | {"resumed": resumed}}, excess


def _check_settings(place: Place, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """The schedule alone may be another one than before."""
    watched, watching = known.get("watching", {}), given.get("watching", {})
    for before, now in (
        (known["configuration"], given["configuration"]),
        (watched.get("probes", {}), watching.get("probes", {})),
        *(({key: watched[key]}, {key: watching[key]}) for key in ("networks", "layers") if key in watched),
    ):
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                raise ConfigurationError(
                    f"{place.location} was recorded with other settings: {key} was {before.get(key)!r} and is now "
                    f"{now.get(key)!r}; resume it with the same, or record to a new run"
                )


def _restore(group: Group, table: Table, columns: Columns, step: int, lost: set[str]) -> int:
    """Bring a group up to ``step``; how many rows lie behind it."""
    leading = group.arrays.get(table.leading)
    if leading is None:
        return 0
    axes = {name: array for name, array in group.arrays.items() if array.kind.dims[0] != table.leading}
    if lost & {table.leading, *axes}:
        raise ConfigurationError(
            f"{leading.place.location} lost steps or labels of {columns.name} to a damage, so that nothing can be "
            "joined to it; record to a new run"
        )
    labels = dict(zip(axes, wholes(list(axes.values())), strict=True))
    for name, array in axes.items():
        table.axes.setdefault(array.kind.dims[0], {})[name] = labels[name]
    indices, steps = wholes([leading, group.arrays["event_step"] if table.leading == EVENT else leading])
    later = np.flatnonzero(steps > step)
    rows = int(later[0]) if len(later) else len(indices)
    rest = {name: array for name, array in group.arrays.items() if name not in axes}
    for name, array in rest.items():
        if name != table.leading:
            table.columns.setdefault(name, _column(array, is_coordinate=name in group.coordinates))
    if not rows:
        return len(indices)
    table.rows, table.last_index = rows, int(indices[rows - 1])
    growing = {name: _growing(array, array.shape[0] if name in axes else rows) for name, array in group.arrays.items()}
    last = {name: growing[name].last_row() for name in rest if name != table.leading}
    row = Row(table.last_index, {})
    row.before = last
    columns.restore(growing, rows, row)
    return len(indices) - rows


def _column(array: StoredArray, *, is_coordinate: bool) -> Column:
    return Column(dims=array.kind.dims[1:], dtype=_dtype(array), attrs=array.kind.attributes, coordinate=is_coordinate)


def _growing(array: StoredArray, rows: int) -> GrowingArray:
    """The first ``rows`` rows of an array, which may grow again."""
    missing = array.kind.missing
    kind = ArrayKind(
        dims=array.kind.dims,
        chunks=array.kind.chunks,
        dtype=_dtype(array),
        missing=missing if array.kind.is_text else missing.item(),
        attributes=array.kind.attributes,
    )
    growing = GrowingArray(array.key, kind)
    first = (rows - 1) // kind.chunks[0] * kind.chunks[0]
    tail = array.take([np.arange(first, rows), *map(np.arange, array.shape[1:])])
    growing.restore((rows, *array.shape[1:]), first, tail)
    return growing


def _dtype(array: StoredArray) -> str:
    return TEXT if array.kind.is_text else str(array.dtype)
