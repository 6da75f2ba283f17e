"""Makes a damaged run readable again: what is lost is missing from then on, and the root says so."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from plastikit.record.claim import claim
from plastikit.record.decoding import Document, Values
from plastikit.record.encoding import encode
from plastikit.record.finding import name_of
from plastikit.record.place import Place
from plastikit.record.root import COPY, ROOT, seal
from plastikit.record.stored import Cell, StoredArray
from plastikit.record.verification import LAST_WITHOUT_COPY, DamagedFile, Verdict, verify
from plastikit.schema import EVENT, STEP

ASIDE: Final = "damaged"
"""The folder of a run that holds damaged files as they were found."""
DROPPED: Final = "dropped"

_CHECKSUM_BYTES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What a repair did."""

    found: Verdict
    kept_in: str | None
    """The folder of the run to which the damaged files were copied first; None where nothing was damaged."""
    dropped: tuple[Mapping[str, Any], ...]
    """Rows that are lost, as the root lists them from then on."""


def repair(place: Place) -> Repair:
    """Make the run at ``place`` readable, by plastikit and by plain xarray.

    The root comes from its copy, or from the arrays' own metadata where that is gone too. Values that are lost are
    replaced by missing ones and listed in the root's attribute ``dropped``. Rows whose step is lost keep their values
    and stand at negative steps, which ``open_runs`` leaves out; texts that named positions are named as lost. Damaged
    files are copied into a folder of the run before anything is written.

    Raises:
        NotARunError: there is no run.
        SchemaVersionError: the run was written by a newer plastikit.
        StoreInUseError: a process is writing the run.
        DamagedError: nothing of it can be read.
    """
    first = verify(place)
    if not first.damaged:
        return Repair(found=first, kept_in=None, dropped=())
    held = claim(place)
    try:
        return mend(place)
    finally:
        held.release()


def mend(place: Place) -> Repair:
    """``repair`` for a place that is claimed already."""
    found = verify(place)
    if not found.damaged:
        return Repair(found=found, kept_in=None, dropped=())
    aside = _copy_aside(place, [file.key for file in found.damaged])
    lost: dict[StoredArray, list[DamagedFile]] = defaultdict(list)
    for file in found.damaged:
        if file.array is not None:
            lost[file.array].append(file)
    mended = {array: _mended(array, [file.cell for file in files]) for array, files in lost.items()}
    dropped = [entry for array, files in lost.items() for entry in _entries(found, array, files, mended)]
    root = _sealed(found.document, dropped)
    # The root says what is lost before anything that was lost can pass for not measured.
    place.write({ROOT: root})
    items: dict[str, bytes] = {}
    for array, cells in mended.items():
        for cell, values in cells.items():
            packed = encode(values)
            items[array.chunk_key(cell)] = packed if array.kind.is_checked else packed[:-_CHECKSUM_BYTES]
    entries = found.document["consolidated_metadata"]["metadata"]
    for file in found.damaged:
        key = file.key.removesuffix(f"/{ROOT}")
        if file.array is None and key in entries:
            items[file.key] = json.dumps(entries[key], separators=(",", ":")).encode("ascii")
    if found.attributes["schema_version"] > LAST_WITHOUT_COPY:
        items[COPY] = root
    place.write(items)
    return Repair(found=found, kept_in=aside, dropped=tuple(dropped))


def _copy_aside(place: Place, keys: Sequence[str]) -> str:
    """Keep files as they were found; in which folder of the run."""
    number = 1
    while place.keys(f"{ASIDE}/{number}/"):
        number += 1
    folder = f"{ASIDE}/{number}"
    found = dict(zip(keys, place.read(keys), strict=True))
    place.write({f"{folder}/{key}": data for key, data in found.items() if data is not None})
    return folder


def _mended(array: StoredArray, cells: Sequence[Cell]) -> dict[Cell, Values]:
    """What to put in the place of chunks whose values are lost."""
    return {cell: _replacement(array, cell) for cell in cells}


def _replacement(array: StoredArray, cell: Cell) -> Values:
    values = np.full(array.kind.chunks, array.kind.missing, dtype=array.kind.dtype)
    dim = array.kind.dims[0]
    if array.key.rpartition("/")[2] != dim:
        return values
    first, last = array.span(cell)
    if dim in {STEP, EVENT}:
        values[: last + 1 - first] = np.arange(first, last + 1) - array.shape[0]
    elif array.kind.is_text:
        run = name_of(array.place)
        values[: last + 1 - first] = [f"lost {dim} {position} of {run}" for position in range(first, last + 1)]
    return values


def _entries(
    found: Verdict,
    array: StoredArray,
    files: Sequence[DamagedFile],
    mended: Mapping[StoredArray, Mapping[Cell, Values]],
) -> list[dict[str, Any]]:
    """What the root says of the rows that an array has lost."""
    group, _, name = array.key.partition("/")
    leading = found.groups[group].arrays.get(array.kind.dims[0])
    steps = None
    if leading is not None and array.kind.dims[0] in {STEP, EVENT} and leading is not array:
        steps = _steps(leading, mended.get(leading, {}))
    reasons: dict[tuple[int, int], str] = {}
    for file in files:
        reasons.setdefault(array.span(file.cell), file.reason)
    return [
        {
            "group": group,
            "variable": name,
            "rows": last + 1 - first,
            "first": first if steps is None else int(steps[first]),
            "last": last if steps is None else int(steps[last]),
            "reason": f"its file was damaged: {reason}",
        }
        for (first, last), reason in sorted(reasons.items())
    ]


def _steps(leading: StoredArray, mended: Mapping[Cell, Values]) -> Values:
    steps = np.empty(leading.shape, dtype=leading.dtype)
    cells = list(leading.cells())
    for cell, data in zip(cells, leading.place.read([leading.chunk_key(cell) for cell in cells]), strict=True):
        first, last = leading.span(cell)
        values = mended[cell] if cell in mended else leading.checked(cell, data)
        steps[first : last + 1] = values[: last + 1 - first]
    return steps


def _sealed(document: Document, dropped: Sequence[Mapping[str, Any]]) -> bytes:
    attributes = dict(document["attributes"])
    known = list(attributes.get(DROPPED, []))
    told = known + [entry for entry in dropped if entry not in known]
    if told:
        attributes[DROPPED] = told
    return seal(document | {"attributes": attributes})
