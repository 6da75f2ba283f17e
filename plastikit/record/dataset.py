"""Reads runs: one as it lies on disk, or many side by side along a ``run`` dimension."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from plastikit.errors import DamagedError, NotARunError, SchemaVersionError
from plastikit.record.claim import is_claimed
from plastikit.record.committed import read_root
from plastikit.record.finding import name_of, places_of
from plastikit.record.joining import JOINED, check_definitions, join, read_members
from plastikit.record.opening import open_place
from plastikit.record.place import Location as Location  # noqa: PLC0414  the report names it by this room
from plastikit.record.place import Place, place_of
from plastikit.schema import FINISHED, RUN, RUNNING, SCHEMA_VERSION

_OF_THE_RUN: Final = ("task_count", "width", "depth", "seed", "architecture")
_ABANDONED: Final = "abandoned"
_NAMED: Final = 10
_LARGEST: Final = 2**63


def open_run(path: Location) -> xr.DataTree:
    """One run, finished or not, with its variables still on disk.

    Raises:
        NotARunError: ``path`` is not a run.
        DamagedError: a file of the run is not what was written; a variable whose chunks are damaged says so when it
            is read.
        SchemaVersionError: the run was written by a newer plastikit.
    """
    return open_place(place_of(path))


def read_attributes(path: Location) -> dict[str, Any]:
    """State, configuration and provenance of a run, read without opening its arrays.

    Raises:
        NotARunError: ``path`` is not a run.
        DamagedError: the root's metadata are not what was written.
        SchemaVersionError: the run was written by a newer plastikit.
    """
    attributes: dict[str, Any] = read_root(place_of(path))["attributes"]
    return attributes


def is_run(path: Location) -> bool:
    """Whether a readable run lies at ``path``."""
    try:
        read_root(place_of(path))
    except (NotARunError, DamagedError):
        return False
    except SchemaVersionError:
        return True
    return True


def open_runs(paths: Location | Iterable[Location]) -> xr.DataTree:
    """Many runs as one, with a leading ``run`` dimension in every group.

    ``paths`` is a pattern such as ``"runs/*.zarr"``, a directory that holds runs, or the paths themselves; each may be
    a URL. Steps, layers and parameters that a run lacks are NaN in it. The coordinates of ``run`` are its name,
    ``task_count``, ``width``, ``depth``, ``seed``, ``architecture`` and ``state``; what differs by run, such as
    ``env_step`` and ``layer_units``, has ``run`` as its first dimension too. Per-unit variables are padded at the end
    of the ``unit`` dimension, and ``unit_layer`` counts along the joined ``layer`` dimension (-1 where padded).

    Nothing but labels is read here: a variable is read when it is asked for, and then only where it is asked for.
    Runs that did not finish are named in a warning, and with their states in the attribute ``unfinished``.

    Raises:
        NotARunError: nothing was found, or one of the paths is not a run.
        DamagedError: a root, or an array that names steps or labels, is not what was written.
        SchemaVersionError: a run was written by a newer plastikit.
        DefinitionMismatchError: a variable is defined differently in two of the runs.
    """
    places = places_of(paths)
    names = _names(places)
    members = read_members(names, places)
    check_definitions(members)
    unfinished = {
        member.name: _state(member.attributes, place)
        for member, place in zip(members, places, strict=True)
        if member.attributes["state"] != FINISHED
    }
    if unfinished:
        warnings.warn(_told(unfinished, len(members)), stacklevel=_outside())
    attributes = [dict(member.attributes) for member in members]
    coordinates = _run_coordinates(names, attributes)
    groups = {f"/{group}": join(members, group, coordinates) for group in JOINED}
    root = xr.Dataset(
        coords=coordinates,
        attrs={
            "schema_version": SCHEMA_VERSION,
            "runs": dict(zip(names, attributes, strict=True)),
            "unfinished": unfinished,
        },
    )
    return xr.DataTree.from_dict({"/": root, **groups})


def _names(places: Sequence[Place]) -> list[str]:
    names = [name_of(place) for place in places]
    return names if len(set(names)) == len(names) else [place.location for place in places]


def _run_coordinates(names: list[str], attributes: list[dict[str, Any]]) -> dict[str, Any]:
    def column(key: str) -> tuple[str, np.ndarray[Any, Any]]:
        found = [entry.get("configuration", {}).get(key) for entry in attributes]
        if all(isinstance(value, int) and abs(value) < _LARGEST for value in found):
            return RUN, np.array(found, dtype=np.int64)
        if all(value is None or isinstance(value, int | float) for value in found):
            return RUN, np.array([np.nan if value is None else value for value in found], dtype=np.float64)
        return RUN, np.array(["" if value is None else str(value) for value in found], dtype=object)

    states = np.array([entry["state"] for entry in attributes], dtype=object)
    return {RUN: (RUN, np.array(names, dtype=object)), "state": (RUN, states)} | {
        key: column(key) for key in _OF_THE_RUN
    }


def _state(attributes: Mapping[str, Any], place: Place) -> str:
    state = str(attributes["state"])
    return _ABANDONED if state == RUNNING and not is_claimed(place) else state


def _told(unfinished: Mapping[str, str], count: int) -> str:
    named = [f"{name} ({state})" for name, state in list(unfinished.items())[:_NAMED]]
    rest = len(unfinished) - len(named)
    more = f" and {rest} more, which the attribute 'unfinished' names" if rest else ""
    lost = "; no process writes an abandoned run any more" if _ABANDONED in unfinished.values() else ""
    told = f"{len(unfinished)} of {count} runs did not finish, and hold what was recorded until they stopped"
    return f"{told}: {', '.join(named)}{more}{lost}"


def _outside() -> int:
    """How far up from its caller the first line stands that is not plastikit's."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001  the whole stack would have to be listed otherwise
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "plastikit":
        frame, level = frame.f_back, level + 1
    return level
