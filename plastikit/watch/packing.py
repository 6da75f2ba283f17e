"""Readings on their way to the host: one vector a record, and where in it each value lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plastikit.watch.probe import Reading, Rows

Readings = dict[str, Mapping[str, Tensor]]
Numbers = npt.NDArray[np.float32]
Measured = dict[str, dict[str, Numbers]]
Labels = tuple[tuple[str, str | tuple[str, ...]], ...]

_NARROW: Final = (torch.float16, torch.bfloat16)


class Entry(NamedTuple):
    """One labelled value in a vector."""

    variable: str
    label: str
    shape: tuple[int, ...]
    place: slice


class _Batch(NamedTuple):
    """The values that lie on one device: places of the single numbers, and of the others with their shapes."""

    singles: list[int]
    others: list[int]
    shapes: list[tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Packing:
    """How the values of a record follow each other in its vector; one object serves all records that are alike."""

    labels: Labels
    """The variable of each tensor with its label, or with the labels of its rows."""
    entries: tuple[Entry, ...]
    """Each labelled value, in the order of ``labels``."""
    batches: tuple[_Batch, ...]

    def gather(self, values: Sequence[Tensor]) -> Numbers | None:
        """All values as one vector, fetched from each device in one transfer; None where their shapes are others."""
        fetched = []
        for singles, others, shapes in self.batches:
            arrays = [values[place] for place in others]
            if [array.shape for array in arrays] != shapes:
                return None
            # Most are vectors already, and even a reshape to what they are is not free.
            flat = [array if array.ndim == 1 else array.reshape(-1) for array in arrays]
            if singles:
                stacked = torch.stack([values[place] for place in singles])
                if stacked.ndim != 1:
                    return None
                flat.insert(0, stacked)
            if any(part.dtype in _NARROW for part in flat):
                # A half beside whole numbers would take them down to its own precision.
                flat = [values[place].reshape(-1).to(torch.float32) for place in (*singles, *others)]
            fetched.append(torch.cat(flat).to(torch.float32).cpu().numpy())
        return fetched[0] if len(fetched) == 1 else np.concatenate(fetched)


Packings = dict[Labels, Packing]
"""How records were packed, by what they hold: cheap ones and whole ones take turns."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The values of one record on the host."""

    packing: Packing
    numbers: Numbers

    def unpack(self) -> Measured:
        """Variable -> label -> array along the variable's further dimensions."""
        measured: Measured = {}
        for variable, label, shape, place in self.packing.entries:
            measured.setdefault(variable, {})[label] = self.numbers[place].reshape(shape)
        return measured


def merge(into: Readings, reading: Reading) -> None:
    """Add a probe's reading of one network to what other probes and networks gave."""
    for variable, values in reading.items():
        if not values:
            continue
        known = into.get(variable)
        if known is None:
            into[variable] = values
        elif isinstance(known, Rows) and isinstance(values, Rows) and known.keys().isdisjoint(values):
            into[variable] = known | values
        else:
            into[variable] = {**known, **values}


@torch.no_grad()
def pack(readings: Mapping[str, Mapping[str, Tensor]], known: Packings) -> Packed | None:
    """The readings on the host, packed as those before that were alike; None where there are none."""
    labels, values = _listed(readings)
    before = known.get(labels)
    if before is not None:
        try:
            numbers = before.gather(values)
        except RuntimeError:
            # They lie on other devices than before; if it was something else, it is raised again below.
            numbers = None
        if numbers is not None:
            return Packed(before, numbers)
    if not values:
        return None
    packing = known[labels] = _packing(labels, values)
    numbers = packing.gather(values)
    assert numbers is not None  # noqa: S101  it was made for these values
    return Packed(packing, numbers)


def to_host(readings: Mapping[str, Mapping[str, Tensor]]) -> Measured:
    """Every value as a NumPy array, fetched from each device in one transfer."""
    packed = pack(readings, {})
    return {} if packed is None else packed.unpack()


def _listed(readings: Mapping[str, Mapping[str, Tensor]]) -> tuple[Labels, list[Tensor]]:
    """Every tensor, and for each its variable with the label, or the labels of its rows."""
    labels: list[tuple[str, str | tuple[str, ...]]] = []
    values: list[Tensor] = []
    for variable, row in readings.items():
        if isinstance(row, Rows):
            for names, stacked in row.parts:
                labels.append((variable, names))
                values.append(stacked)
        else:
            for label, value in row.items():
                labels.append((variable, label))
                values.append(value)
    return tuple(labels), values


def _packing(labels: Labels, values: Sequence[Tensor]) -> Packing:
    devices: dict[torch.device, list[int]] = {}
    for place, value in enumerate(values):
        devices.setdefault(value.device, []).append(place)
    batches = []
    starts: dict[int, int] = {}
    end = 0
    for here in devices.values():
        singles = [place for place in here if not values[place].ndim]
        others = [place for place in here if values[place].ndim]
        batches.append(_Batch(singles, others, [tuple(values[place].shape) for place in others]))
        for place in (*singles, *others):
            starts[place] = end
            end += values[place].numel()
    entries = []
    for place, ((variable, label), value) in enumerate(zip(labels, values, strict=True)):
        start = starts[place]
        if isinstance(label, str):
            entries.append(Entry(variable, label, tuple(value.shape), slice(start, start + value.numel())))
            continue
        shape = tuple(value.shape[1:])
        size = math.prod(shape)
        entries += [
            Entry(variable, name, shape, slice(start + row * size, start + (row + 1) * size))
            for row, name in enumerate(label)
        ]
    return Packing(labels, tuple(entries), tuple(batches))
