"""Brings readings into rows: labelled tensors become arrays along the axes of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from plastikit.errors import ConfigurationError
from plastikit.record.scalars import scalar_attrs
from plastikit.record.store import RunStore
from plastikit.record.table import Column, Layout, Table, Values
from plastikit.record.values import printable
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    GROUP,
    HEAD,
    LAYER,
    NETWORK,
    PARAMETER,
    PROBE,
    TASK,
    TRAINING,
    UNIT,
    Definition,
)
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.ledger import PROBE_SECONDS, Ledger, labels_of
from plastikit.watch.packing import Numbers, Packed, Packing
from plastikit.watch.probe import Probe
from plastikit.watch.registry import observed

_COUNTED: Final = (GROUP, HEAD)
"""Dimensions whose entries are counted from 0 on, as many as were seen."""


class Recorder:
    """Knows the variables, keeps the axes of a store in step with what is measured, and hands rows over."""

    def __init__(
        self, store: RunStore, probes: Sequence[Probe], networks: Iterable[NetworkWatch], ledger: Ledger
    ) -> None:
        self._store = store
        self._ledger = ledger
        measured = [definition for probe in probes for definition in probe.definitions]
        of_batches = [observed(definition) for definition in measured]
        self._definitions = {definition.variable: definition for definition in (*measured, *of_batches)}
        self._networks = {network.name: network for network in networks}
        self._layouts: WeakKeyDictionary[Packing, Layout] = WeakKeyDictionary()
        table = store.table(DIAGNOSTICS)
        # Empty, unless the run is gone on with.
        self._positions = {dim: _positions(table, dim) for dim in (NETWORK, LAYER, PARAMETER)}
        self._units = {label: _units(table, place) for label, place in self._positions[LAYER].items()}
        for probe in probes:
            for dim, values in probe.axes.items():
                if not table.axis(dim):
                    table.extend_axis(dim, {dim: np.array(values, dtype=np.float64)})
        if not table.axis(PROBE):
            table.extend_axis(PROBE, {PROBE: np.array(labels_of(probes))})
        table.declare(PROBE_SECONDS.variable, Column(dims=PROBE_SECONDS.dims, attrs=PROBE_SECONDS.to_attrs()))
        self._extend(NETWORK, [name for name in self._networks if name not in self._positions[NETWORK]], {})
        self._add_parameters()

    def write(self, step: int, packed: Packed, seconds: Numbers | None, stamps: Mapping[str, float]) -> None:
        """Hand a row to the store; labels that were not seen before become new entries of their axis.

        ``seconds`` is what the record cost, along the axis of probes; None for what was not measured in training.
        """
        self._add_parameters()
        layout = self._layouts.get(packed.packing)
        if layout is None:
            layout = self._layouts[packed.packing] = self._layout(packed.packing)
        row: dict[str, Values | float | str] = {} if seconds is None else {PROBE_SECONDS.variable: seconds}
        self._store.append(DIAGNOSTICS, step, row | self._stamped(DIAGNOSTICS, stamps), (layout, packed.numbers))

    def check_stamps(self, stamps: Mapping[str, float]) -> None:
        """Whether every record can carry such coordinates.

        Raises:
            ConfigurationError: one has a name that is taken, or that cannot stand on disk.
        """
        for group in (DIAGNOSTICS, TRAINING, EVALUATION):
            for name in stamps:
                self._store.table(group).check_name(name)

    def lose(self, step: int, reason: str) -> None:
        """Note that a record was lost on its way."""
        self._store.lose(DIAGNOSTICS, step, reason)

    def write_scalars(
        self,
        group: str,
        step: int,
        values: Mapping[str, object],
        stamps: Mapping[str, float],
    ) -> None:
        """Hand a row of scalars to ``group``; a mapping is read as one value per task."""
        start = perf_counter()
        table = self._store.table(group)
        row: dict[str, Values | float | str] = {}
        by_task: dict[str, dict[str, float]] = {}
        for name, value in values.items():
            attrs = scalar_attrs(name) if group == EVALUATION else {"long_name": name.replace("_", " ")}
            # As exact as they came: a count of frames is more than single precision holds.
            if isinstance(value, Mapping):
                by_task[name] = {
                    printable(task): number_of(f"{name}[{task!r}]", number) for task, number in value.items()
                }
                table.declare(name, Column(dims=(TASK,), dtype="float64", attrs=attrs))
            else:
                row[name] = number_of(name, value)
                table.declare(name, Column(dtype="float64", attrs=attrs))
        self._store.append(group, step, row | self._stamped(group, stamps), _packed_by_task(table, by_task))
        self._ledger.charge_store(start)

    def _stamped(self, group: str, stamps: Mapping[str, float]) -> dict[str, float]:
        for name in stamps:
            self._store.table(group).declare(
                name, Column(dtype="float64", attrs={"long_name": name.replace("_", " ")}, coordinate=True)
            )
        return dict(stamps)

    def _layout(self, packing: Packing) -> Layout:
        """Where the values of a packing belong along the axes; its variables and labels are made known."""
        self._add_layers(packing)
        table = self._store.table(DIAGNOSTICS)
        sources: dict[str, list[Values]] = {}
        places: dict[str, list[Values]] = {}
        for variable, label, shape, source in packing.entries:
            definition = self._definitions[variable]
            table.declare(variable, Column(dims=definition.dims, attrs=definition.to_attrs()))
            sources.setdefault(variable, []).append(np.arange(source.start, source.stop))
            places.setdefault(variable, []).append(self._places(definition, label, shape))
        return Layout(
            {
                variable: (np.concatenate(source), np.concatenate(places[variable], axis=1))
                for variable, source in sources.items()
            }
        )

    def _places(self, definition: Definition, label: str, shape: tuple[int, ...]) -> Values:
        """Where each number of a labelled value stands along the dimensions of its variable, [dimension, number]."""
        table = self._store.table(DIAGNOSTICS)
        leading, *inner = definition.dims
        own = self._units[label] if leading == UNIT else self._position(leading, label)
        sizes = shape if leading == UNIT else (own.stop - own.start, *shape)
        for dim, size in zip(inner, sizes[1:], strict=False):
            if dim in _COUNTED and size > table.size(dim):
                table.extend_axis(dim, {dim: np.arange(table.size(dim), size, dtype=np.int64)})
        # What a counted dimension lacks is missing; along any other every entry has its value.
        counts = [size if dim in _COUNTED else table.size(dim) for dim, size in zip(inner, sizes[1:], strict=False)]
        if sizes != (own.stop - own.start, *counts) or len(sizes) != len(definition.dims):
            raise ValueError(
                f"{definition.variable} of {label} has shape {shape}, where {' and '.join(inner) or 'one number'} "
                f"was expected: {tuple(counts)}"
            )
        grid = np.indices(sizes).reshape(len(sizes), -1)
        grid[0] += own.start
        return grid

    def _position(self, dim: str, label: str) -> slice:
        position = self._positions[dim][label]
        return slice(position, position + 1)

    def _add_layers(self, packing: Packing) -> None:
        known = self._positions[LAYER]
        of_layers = {variable for variable, each in self._definitions.items() if each.dims[0] in {LAYER, UNIT}}
        labels = dict.fromkeys(entry.label for entry in packing.entries if entry.variable in of_layers)
        fresh = [label for label in labels if label not in known]
        if not fresh:
            return
        owner = {label: network for network in self._networks.values() for label in network.units}
        units = {label: owner[label].units[label] for label in fresh}
        self._extend(
            LAYER,
            fresh,
            {
                "layer_network": np.array([owner[label].name for label in fresh]),
                "layer_units": np.array([units[label] for label in fresh], dtype=np.int64),
            },
        )
        table = self._store.table(DIAGNOSTICS)
        for label in fresh:
            start = table.size(UNIT)
            self._units[label] = slice(start, start + units[label])
            table.extend_axis(
                UNIT,
                {
                    "unit_layer": np.full(units[label], self._positions[LAYER][label], dtype=np.int64),
                    "unit_index": np.arange(units[label], dtype=np.int64),
                },
            )

    def _add_parameters(self) -> None:
        known = self._positions[PARAMETER]
        if all(network.named.keys() <= known.keys() for network in self._networks.values()):
            return
        named = [(name, network) for network in self._networks.values() for name in network.named if name not in known]
        if named:
            self._extend(
                PARAMETER,
                [name for name, _ in named],
                {
                    "parameter_network": np.array([network.name for _, network in named]),
                    "parameter_kind": np.array([network.kinds[name] for name, network in named]),
                },
            )

    def _extend(self, dim: str, labels: list[str], coordinates: Mapping[str, Values]) -> None:
        if not labels:
            return
        positions = self._positions[dim]
        for label in labels:
            positions[label] = len(positions)
        self._store.table(DIAGNOSTICS).extend_axis(dim, {dim: np.array(labels), **coordinates})


def _packed_by_task(table: Table, values: Mapping[str, Mapping[str, float]]) -> tuple[Layout, Values] | None:
    """The numbers of those tasks that are named, and no others: several rows can name different ones."""
    if not values:
        return None
    known = [str(task) for task in table.axis(TASK).get(TASK, ())]
    fresh = dict.fromkeys(task for numbers in values.values() for task in numbers if task not in known)
    if fresh:
        table.extend_axis(TASK, {TASK: np.array(list(fresh))})
    place = {task: position for position, task in enumerate((*known, *fresh))}
    places: dict[str, tuple[Values, Values]] = {}
    vector: list[float] = []
    for name, numbers in values.items():
        if numbers:
            source = np.arange(len(vector), len(vector) + len(numbers))
            places[name] = source, np.array([[place[task] for task in numbers]])
            vector += numbers.values()
    return Layout(places), np.array(vector, dtype=np.float64)


def _positions(table: Table, dim: str) -> dict[str, int]:
    return {str(label): place for place, label in enumerate(table.axis(dim).get(dim, ()))}


def _units(table: Table, layer: int) -> slice:
    """Where the units of a layer stand: one after the other."""
    (places,) = np.nonzero(table.axis(UNIT)["unit_layer"] == layer)
    return slice(int(places[0]), int(places[-1]) + 1)


def number_of(name: str, value: object) -> float:
    """``value`` as a number.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]  # or it raises
    except (TypeError, ValueError, RuntimeError):
        raise ConfigurationError(
            f"{name} is {value!r}, where one number was expected; give a float, or a tensor of one element"
        ) from None
