"""A root's document made anew from what lies beside the arrays, for a run that has lost both its root and the copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from plastikit.errors import DamagedError
from plastikit.record.committed import COORDINATES, GROUPS, LAST_WITH_GAPS
from plastikit.record.decoding import Document, Kind, decode
from plastikit.record.place import Place
from plastikit.record.root import ROOT
from plastikit.schema import EVENT, INTERRUPTED, SCHEMA_VERSION, STEP

LOST: Final = (
    "the root's metadata and their copy were damaged; configuration, provenance and state were lost with them, "
    "and rows and shapes are as the arrays tell"
)

_WALL_TIME: Final = "wall_time"
_OF_ROWS: Final = frozenset({_WALL_TIME, "env_step"})
"""The coordinates that stand along the leading dimension."""


def restored_document(place: Place) -> Document:
    """What can be known of a run without its root.

    Raises:
        DamagedError: nothing can.
    """
    keys = set(place.keys())
    names = [key.removesuffix(f"/{ROOT}") for key in keys if key.endswith(f"/{ROOT}")]
    arrays = sorted(name for name in names if name.count("/") == 1 and name.partition("/")[0] in GROUPS)
    documents: dict[str, Document] = {}
    kinds: dict[str, Kind] = {}
    for key, data in zip(arrays, place.read([f"{key}/{ROOT}" for key in arrays]), strict=True):
        try:
            document = json.loads(data or b"")
            kinds[key] = Kind.of(document)
            if len(document["shape"]) == len(kinds[key].dims) == len(kinds[key].chunks):
                documents[key] = document
        except (ValueError, KeyError, TypeError):
            continue
    lost = [key for key in arrays if key not in documents]
    if not documents:
        raise DamagedError(
            f"{place.location} cannot be repaired: its root, the copy of it and the metadata of all its arrays are "
            "damaged or gone; restore it from a backup, or move it away"
        )
    metadata: dict[str, Document] = {}
    for group in GROUPS:
        own = {key: document for key, document in documents.items() if key.startswith(f"{group}/")}
        sizes = _sizes(place, group, own, kinds)
        metadata[group] = _group(group, own, kinds)
        for key, document in own.items():
            metadata[key] = document | {"shape": [sizes.get(dim, 0) for dim in kinds[key].dims]}
    dropped = [
        {"group": group, "variable": name, "rows": 0, "first": -1, "last": -1, "reason": "its metadata were damaged"}
        for group, _, name in (key.partition("/") for key in lost)
    ]
    is_checked = any(kind.is_checked for kind in kinds.values())
    return {
        "attributes": {
            "schema_version": SCHEMA_VERSION if is_checked else LAST_WITH_GAPS,
            "state": INTERRUPTED,
            "configuration": {},
            "provenance": {},
            "error": LOST,
            **({"dropped": dropped} if dropped else {}),
        },
        "zarr_format": 3,
        "node_type": "group",
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": metadata},
    }


def _group(group: str, documents: Mapping[str, Document], kinds: Mapping[str, Kind]) -> Document:
    coordinates = [
        name
        for name, dims in ((key.removeprefix(f"{group}/"), kinds[key].dims) for key in documents)
        if len(dims) == 1 and dims != (name,) and (dims[0] not in {STEP, EVENT} or name in _OF_ROWS)
    ]
    return {"attributes": {COORDINATES: " ".join(coordinates)}, "zarr_format": 3, "node_type": "group"}


def _sizes(place: Place, group: str, documents: Mapping[str, Document], kinds: Mapping[str, Kind]) -> dict[str, int]:
    """The size of each dimension: what lies in its labels, or what the arrays' own metadata say where that is more."""
    sizes: dict[str, int] = {}
    for key, document in documents.items():
        for dim, size in zip(kinds[key].dims, document["shape"], strict=True):
            sizes[dim] = max(sizes.get(dim, 0), int(size))
    counted: dict[str, list[int]] = {}
    for key in documents:
        dims = kinds[key].dims
        if len(dims) == 1 and (dims[0] not in {STEP, EVENT} or key in {f"{group}/{dims[0]}", f"{group}/{_WALL_TIME}"}):
            counted.setdefault(dims[0], []).append(_count(place, key, kinds[key]))
    return {dim: max(size, min(counted.get(dim, [0]))) for dim, size in sizes.items()}


def _count(place: Place, key: str, kind: Kind) -> int:
    """How many values of a label, or of a leading coordinate, lie on disk before the first that is missing."""
    count = 0
    while True:
        [data] = place.read([f"{key}/c/{count // kind.chunks[0]}"])
        if data is None:
            return count
        try:
            values: Any = decode(data, kind)
        except DamagedError:
            return count
        is_missing = np.isnan(values) if kind.dtype.kind == "f" else values == kind.missing
        if is_missing.any():
            return count + int(np.argmax(is_missing))
        count += len(values)
