"""What a run has committed: its root's metadata, and the arrays that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plastikit.errors import DamagedError, NotARunError, SchemaVersionError
from plastikit.record.decoding import Document, Kind
from plastikit.record.place import Folder, Place
from plastikit.record.root import COPY, ROOT, unseal
from plastikit.record.stored import StoredArray
from plastikit.schema import DIAGNOSTICS, EVALUATION, EVENTS, SCHEMA_VERSION, TRAINING

GROUPS: Final = (DIAGNOSTICS, TRAINING, EVALUATION, EVENTS)
LAST_WITH_GAPS: Final = 1
"""The last schema version in which a chunk of missing values alone need not be there."""

COORDINATES: Final = "coordinates"


@dataclass(frozen=True)
class Group:
    """A group of a run as it was committed."""

    attributes: Mapping[str, Any]
    arrays: Mapping[str, StoredArray]
    """By name within the group."""

    @property
    def coordinates(self) -> set[str]:
        """The arrays that are no data variables."""
        named = set(str(self.attributes.get(COORDINATES, "")).split())
        return {name for name, array in self.arrays.items() if name in named or array.kind.dims == (name,)}

    @property
    def indexes(self) -> dict[str, StoredArray]:
        """The arrays that name the positions along a dimension."""
        return {name: array for name, array in self.arrays.items() if array.kind.dims == (name,)}


class Kinds:
    """What the arrays of many runs are: those that are alike are one object, which is quick to find and to compare."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Document, Kind]]] = {}

    def of(self, key: str, document: Document) -> tuple[Kind, tuple[int, ...]]:
        """What the array at ``key`` is, and its shape, which is taken out of ``document``.

        Raises:
            DamagedError: no plastikit writes such an array.
        """
        try:
            shape = tuple(document.pop("shape"))
            sizes_are_right = all(isinstance(size, int) and size >= 0 for size in shape)
        except (KeyError, TypeError, AttributeError):
            sizes_are_right = False
        if not sizes_are_right:
            raise DamagedError(f"{key} has no shape")
        known = self._known.setdefault(key, [])
        for alike, kind in known:
            if alike == document:
                return kind, shape
        kind = Kind.of(document)
        if not len(shape) == len(kind.dims) == len(kind.chunks):
            raise DamagedError(f"{key} has another number of dimensions than of sizes")
        known.append((document, kind))
        return kind, shape


def read_root(place: Place) -> Document:
    """What the run at ``place`` has committed.

    Raises:
        NotARunError: there is no run.
        DamagedError: the root's metadata are not what was written.
        SchemaVersionError: the run was written by a newer plastikit.
    """
    try:
        [data] = place.read([ROOT])
    except NotADirectoryError:
        data = None
    except IsADirectoryError:
        data = b""
    if data is None:
        raise _absent(place)
    try:
        document = unseal(data)
    except DamagedError as error:
        raise _unreadable(place, data, str(error)) from None
    attributes = document["attributes"]
    _check_version(place, attributes["schema_version"])
    if not isinstance(attributes.get("state"), str) or not isinstance(attributes.get("configuration"), dict):
        raise DamagedError(_damaged_root(place, "it tells neither state nor configuration"))
    return document


def read_groups(place: Place, document: Document, kinds: Kinds) -> dict[str, Group]:
    """The groups that a root's document names; it is used up.

    Raises:
        DamagedError: no plastikit writes such metadata.
    """
    has_gaps = document["attributes"]["schema_version"] <= LAST_WITH_GAPS
    groups: dict[str, tuple[dict[str, Any], dict[str, StoredArray]]] = {name: ({}, {}) for name in GROUPS}
    try:
        for key, entry in document["consolidated_metadata"]["metadata"].items():
            group, _, name = key.partition("/")
            if not name:
                groups.setdefault(group, ({}, {}))[0].update(entry["attributes"])
            elif entry["node_type"] == "array":
                kind, shape = kinds.of(key, entry)
                groups.setdefault(group, ({}, {}))[1][name] = StoredArray(place, key, kind, shape, has_gaps)
    except (KeyError, TypeError, AttributeError, DamagedError) as error:
        reason = str(error) if isinstance(error, DamagedError) else "what it says of its arrays cannot be read"
        raise DamagedError(_damaged_root(place, reason)) from None
    found = {name: Group(attributes, arrays) for name, (attributes, arrays) in groups.items()}
    for name, group in found.items():
        if not _fits_together(group):
            raise DamagedError(_damaged_root(place, f"the arrays of {name} do not fit together"))
    return found


def _fits_together(group: Group) -> bool:
    sizes: dict[str, int] = {}
    for name, array in group.arrays.items():
        if "/" in name:
            return False
        for dim, size in zip(array.kind.dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                return False
    return True


def _check_version(place: Place, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{place.location} has schema version {version}; this plastikit reads versions up to {SCHEMA_VERSION}. "
            "Install a newer plastikit to read it"
        )


def _absent(place: Place) -> Exception:
    if _is_more_there(place):
        return DamagedError(_damaged_root(place, "it is not there"))
    run = place.location
    if not place.exists():
        return NotARunError(f"{run} does not exist; give the path of a run, a folder that ends in .zarr")
    inside = sorted(place.path.glob("*.zarr")) if isinstance(place, Folder) else []
    if inside:
        return NotARunError(
            f"{run} is not one run: it holds {len(inside)} runs, such as {inside[0]}; "
            "give one of them, or the folder to open_runs"
        )
    if run.endswith(".zarr"):
        return NotARunError(f"{run} is not a readable run: it has no {ROOT}; give the path of a run, or move it away")
    return NotARunError(f"{run} is not a plastikit run; give a folder that ends in .zarr")


def _unreadable(place: Place, data: bytes, reason: str) -> Exception:
    """Why the root cannot be read: it is damaged, of a newer plastikit, or not ours."""
    [copy] = place.read([COPY])
    try:
        attributes = json.loads(data).get("attributes", {})
        version, is_sealed = attributes.get("schema_version"), "checksum" in attributes
    except (ValueError, KeyError, TypeError, AttributeError):
        return DamagedError(_damaged_root(place, reason))
    if version is None and not is_sealed and not _is_more_there(place):
        return NotARunError(
            f"{place.location} is not a readable run: its {ROOT} is not one of plastikit's; "
            "give the path of a run, or move it away"
        )
    if isinstance(version, int) and version > SCHEMA_VERSION and not _is_intact(copy):
        # A newer layout may be sealed in another way.
        try:
            _check_version(place, version)
        except SchemaVersionError as error:
            return error
    return DamagedError(_damaged_root(place, reason))


def _is_more_there(place: Place) -> bool:
    """Whether there is more of a run than its root."""
    try:
        return any(data is not None for data in place.read([COPY, *(f"{group}/{ROOT}" for group in GROUPS)]))
    except NotADirectoryError:
        return False


def _is_intact(copy: bytes | None) -> bool:
    try:
        return copy is not None and bool(unseal(copy))
    except DamagedError:
        return False


def _damaged_root(place: Place, reason: str) -> str:
    run = place.location
    return f"{run} is damaged: its {ROOT} is not what was written ({reason}); 'plastikit check {run} --repair' mends it"
