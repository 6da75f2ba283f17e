"""Whether every file of a run is what was written: what is damaged, and what survives."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from plastikit.errors import DamagedError
from plastikit.record.committed import Group, Kinds, read_groups, read_root
from plastikit.record.decoding import Document
from plastikit.record.place import Place
from plastikit.record.restoration import restored_document
from plastikit.record.root import COPY, ROOT, unseal
from plastikit.record.stored import Cell, StoredArray

LAST_WITHOUT_COPY: Final = 1
"""The last schema version in which the root has no copy."""

ARRAYS: Final = "arrays"
"""What a root's document is made from where the copy is gone too."""

_BATCH: Final = 64
_NO_COPY: Final = "configuration and provenance are lost with it"


@dataclass(frozen=True, kw_only=True)
class DamagedFile:
    """A file of a run that is not what was written."""

    key: str
    reason: str
    array: StoredArray | None = None
    """The array that has values there; None where it holds metadata, which can be brought back."""
    cell: Cell = ()
    """Which of its chunks it is."""
    loss: str = "no values are lost with it"

    @property
    def variable(self) -> str | None:
        """The array whose values are lost, such as ``diagnostics/srank``."""
        return None if self.array is None else self.array.key

    @property
    def rows(self) -> tuple[int, int] | None:
        """The first and the last row whose values are lost."""
        return None if self.array is None else self.array.span(self.cell)

    def __str__(self) -> str:
        if self.array is None:
            return f"{self.key}: {self.reason}; {self.loss}"
        return f"{self.array.key}, {self.array.where(self.cell)}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a run on its disk."""

    place: Place
    document: Document
    """The root's document, from wherever it could be read."""
    origin: str
    """Where that was: ``zarr.json``, ``zarr.copy.json``, or ``arrays`` where it had to be made anew."""
    groups: Mapping[str, Group]
    damaged: tuple[DamagedFile, ...]

    @property
    def attributes(self) -> Mapping[str, Any]:
        """State, configuration and provenance."""
        attributes: Mapping[str, Any] = self.document["attributes"]
        return attributes

    @property
    def survives(self) -> dict[str, dict[str, int]]:
        """Group -> its rows, its variables, and how many of these are whole."""
        lost = {file.variable for file in self.damaged}
        return {
            name: {
                "rows": max((array.shape[0] for key, array in group.arrays.items() if _leads(key, name)), default=0),
                "variables": len(group.arrays),
                "whole": sum(array.key not in lost for array in group.arrays.values()),
            }
            for name, group in self.groups.items()
            if group.arrays
        }


def verify(place: Place) -> Verdict:
    """Read every file of a run.

    Raises:
        NotARunError: there is no run.
        SchemaVersionError: the run was written by a newer plastikit.
        DamagedError: nothing of it can be read.
    """
    damaged: list[DamagedFile] = []
    origin = ROOT
    try:
        document = read_root(place)
        groups = read_groups(place, copy.deepcopy(document), Kinds())
    except DamagedError:
        origin, document = _without_root(place)
        loss = _NO_COPY if origin == ARRAYS else DamagedFile.loss
        damaged.append(DamagedFile(key=ROOT, reason=_why(place), loss=loss))
        groups = read_groups(place, copy.deepcopy(document), Kinds())
    if document["attributes"]["schema_version"] > LAST_WITHOUT_COPY:
        damaged += _copy(place)
    damaged += _metadata(place, document)
    damaged += _chunks(place, groups)
    return Verdict(place=place, document=document, origin=origin, groups=groups, damaged=tuple(damaged))


def own_document(entry: Document) -> Document:
    """What an array's or a group's own metadata say, as far as they are kept up to date while a run is written."""
    lagging = {"shape"} if entry.get("node_type") == "array" else {"attributes", "consolidated_metadata"}
    return {key: value for key, value in entry.items() if key not in lagging}


def _leads(key: str, group: str) -> bool:
    return key == ("event" if group == "events" else "step")


def _without_root(place: Place) -> tuple[str, Document]:
    [data] = place.read([COPY])
    try:
        return COPY, unseal(data or b"")
    except DamagedError:
        return ARRAYS, restored_document(place)


def _why(place: Place) -> str:
    [data] = place.read([ROOT])
    if data is None:
        return "it is not there"
    try:
        unseal(data)
    except DamagedError as error:
        return str(error)
    return "what it says of its arrays cannot be read"


def _copy(place: Place) -> Iterator[DamagedFile]:
    [data] = place.read([COPY])
    if data is None:
        yield DamagedFile(key=COPY, reason="it is not there")
        return
    try:
        unseal(data)
    except DamagedError as error:
        yield DamagedFile(key=COPY, reason=str(error))


def _metadata(place: Place, document: Document) -> Iterator[DamagedFile]:
    entries = list(document["consolidated_metadata"]["metadata"].items())
    found = place.read([f"{key}/{ROOT}" for key, _ in entries])
    for (key, entry), data in zip(entries, found, strict=True):
        try:
            own = json.loads(data or b"")
            is_right = own_document(own) == own_document(entry)
        except (ValueError, AttributeError):
            is_right = False
        if not is_right:
            reason = "it is not there" if data is None else "it does not say what the root says"
            yield DamagedFile(key=f"{key}/{ROOT}", reason=reason)


def _chunks(place: Place, groups: Mapping[str, Group]) -> Iterator[DamagedFile]:
    wanted = ((array, cell) for group in groups.values() for array in group.arrays.values() for cell in array.cells())
    while batch := list(itertools.islice(wanted, _BATCH)):
        found = place.read([array.chunk_key(cell) for array, cell in batch])
        for (array, cell), data in zip(batch, found, strict=True):
            try:
                array.decoded(data)
            except DamagedError as error:
                yield DamagedFile(key=array.chunk_key(cell), reason=str(error), array=array, cell=cell)
