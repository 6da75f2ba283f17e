"""Labels of many runs along one joined dimension, and where each run has what stands at a joined position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plastikit.record.decoding import Values
from plastikit.record.stored import Positions

Lookup = Positions | None
"""Joined position -> the run's own, -1 where the run has none; None where the two are the same."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A dimension of the joined runs."""

    size: int
    labels: Values | None
    """What stands along it; None where the positions have no names."""
    lookups: Sequence[Lookup]
    """By run."""


def by_label(labels: Sequence[Values | None], *, is_lost: Any = None) -> Axis:
    """Join runs by their labels: as they stand where all are alike, else in their natural order.

    Args:
        labels: By run; None for a run without this dimension.
        is_lost: Tells which labels no longer say where they belong; these are left out.
    """
    keys = [None if own is None else _key(own) for own in labels]
    distinct = {key: own for key, own in zip(keys, labels, strict=True) if key is not None and own is not None}
    kept = [own if is_lost is None else own[~is_lost(own)] for own in distinct.values()]
    joined, places = _union(kept)
    lookups: dict[Hashable, Lookup] = {None: np.full(len(joined), -1, dtype=np.intp)}
    for (key, own), place in zip(distinct.items(), places, strict=True):
        positions = np.arange(len(own), dtype=np.intp) if is_lost is None else np.flatnonzero(~is_lost(own))
        lookup = np.full(len(joined), -1, dtype=np.intp)
        lookup[place] = positions
        lookups[key] = None if len(own) == len(joined) and (place == np.arange(len(joined))).all() else lookup
    return Axis(len(joined), joined, [lookups[key] for key in keys])


def by_position(sizes: Sequence[int | None]) -> Axis:
    """Join runs whose positions have no names; the shorter ones are padded at the end."""
    size = max((own for own in sizes if own is not None), default=0)
    lookups: dict[int, Lookup] = {
        own: None if own == size else np.where(np.arange(size) < own, np.arange(size), -1)
        for own in {own or 0 for own in sizes}
    }
    return Axis(size, None, [lookups[own or 0] for own in sizes])


def _key(labels: Values) -> Hashable:
    return tuple(labels.tolist()) if labels.dtype.kind == "O" else (labels.dtype.str, labels.tobytes())


def _union(labels: Sequence[Values]) -> tuple[Values, list[Positions]]:
    """All labels, and where those of each array stand among them."""
    if len({_key(own) for own in labels}) == 1:
        return labels[0], [np.arange(len(own)) for own in labels]
    if all(own.dtype.kind in "iu" and len(np.unique(own)) == len(own) for own in labels):
        joined = np.unique(np.concatenate(labels)) if labels else np.empty(0)
        return joined, [np.searchsorted(joined, own) for own in labels]
    # A label that stands twice in a run is two labels.
    counted = [_counted(own) for own in labels]
    order = sorted({entry for own in counted for entry in own})
    position = {entry: place for place, entry in enumerate(order)}
    texts = any(own.dtype.kind == "O" for own in labels)
    joined = np.array([label for _, label, _ in order], dtype=object if texts else np.result_type(*labels))
    return joined, [np.array([position[entry] for entry in own], dtype=np.intp) for own in counted]


def _counted(labels: Values) -> list[tuple[bool, Any, int]]:
    """Each label with how often it stood before; those that are not a number come last."""
    seen: Counter[tuple[bool, Any]] = Counter()
    found = []
    for label in labels.tolist():
        is_nan = label != label  # noqa: PLR0124  NaN alone differs
        entry = (is_nan, _NAN if is_nan else label)
        found.append((*entry, seen[entry]))
        seen[entry] += 1
    return found


_NAN = float("nan")
