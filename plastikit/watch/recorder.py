"""Brings readings into rows: labelled tensors become arrays along the axes of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from plastikit.errors import ConfigurationError
from plastikit.record.scalars import scalar_attrs
from plastikit.record.store import RunStore
from plastikit.record.table import Column, Table, Values
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    GROUP,
    LAYER,
    NETWORK,
    OBSERVED,
    PARAMETER,
    PROBE_BATCH,
    TASK,
    UNIT,
    Definition,
)
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.probe import Probe, Reading

Readings = dict[str, dict[str, Tensor]]
Measured = dict[str, dict[str, Values]]


def merge(into: Readings, reading: Reading) -> None:
    """Add a probe's reading of one network to what other probes and networks gave."""
    for variable, values in reading.items():
        if values:
            into.setdefault(variable, {}).update(values)


def to_host(readings: Readings) -> Measured:
    """Every value as a NumPy array, fetched from each device in one transfer."""
    measured: Measured = {variable: {} for variable in readings}
    entries = [(variable, label, value) for variable, row in readings.items() for label, value in row.items()]
    for device in {value.device for _, _, value in entries}:
        here = [entry for entry in entries if entry[2].device == device]
        flat = torch.cat([value.detach().reshape(-1).to(torch.float32) for _, _, value in here]).cpu().numpy()
        bounds = np.cumsum([0, *(value.numel() for _, _, value in here)])
        for (variable, label, value), (start, stop) in zip(here, pairwise(bounds), strict=True):
            measured[variable][label] = flat[start:stop].reshape(tuple(value.shape))
    return measured


class Recorder:
    """Knows the variables, keeps the axes of a store in step with what is measured, and hands rows over."""

    def __init__(self, store: RunStore, probes: Sequence[Probe], networks: Iterable[NetworkWatch]) -> None:
        self._store = store
        measured = [definition for probe in probes for definition in probe.definitions]
        observed = [
            replace(definition, variable=f"{OBSERVED}{definition.variable}", source=PROBE_BATCH)
            for definition in measured
        ]
        self._definitions = {definition.variable: definition for definition in (*measured, *observed)}
        self._networks = {network.name: network for network in networks}
        self._positions: dict[str, dict[str, int]] = {}
        self._units: dict[str, slice] = {}
        table = store.table(DIAGNOSTICS)
        for probe in probes:
            for dim, values in probe.axes.items():
                if not table.axis(dim):
                    table.extend_axis(dim, {dim: np.array(values, dtype=np.float64)})
        self._extend(NETWORK, list(self._networks), {})
        self._add_parameters()

    def write(self, step: int, measured: Measured, stamps: Mapping[str, float]) -> None:
        """Hand a row to the store; labels that were not seen before become new entries of their axis."""
        table = self._store.table(DIAGNOSTICS)
        self._add_layers(measured)
        self._add_parameters()
        row: dict[str, Values | float | str] = {}
        for variable, values in measured.items():
            definition = self._definitions[variable]
            table.declare(variable, Column(dims=definition.dims, attrs=definition.to_attrs()))
            row[variable] = self._array(definition, values)
        self._store.append(DIAGNOSTICS, step, row | self._stamped(DIAGNOSTICS, stamps))

    def write_scalars(
        self,
        group: str,
        step: int,
        values: Mapping[str, object],
        stamps: Mapping[str, float],
    ) -> None:
        """Hand a row of scalars to ``group``; a mapping is read as one value per task."""
        table = self._store.table(group)
        row: dict[str, Values | float | str] = {}
        for name, value in values.items():
            attrs = scalar_attrs(name) if group == EVALUATION else {"long_name": name.replace("_", " ")}
            if isinstance(value, Mapping):
                numbers = {str(task): number_of(f"{name}[{task!r}]", number) for task, number in value.items()}
                table.declare(name, Column(dims=(TASK,), attrs=attrs))
                row[name] = self._by_task(table, numbers)
            else:
                number = number_of(name, value)
                table.declare(name, Column(attrs=attrs))
                row[name] = number
        self._store.append(group, step, row | self._stamped(group, stamps))

    def _stamped(self, group: str, stamps: Mapping[str, float]) -> dict[str, float]:
        for name in stamps:
            self._store.table(group).declare(
                name, Column(dtype="float64", attrs={"long_name": name.replace("_", " ")}, coordinate=True)
            )
        return dict(stamps)

    def _array(self, definition: Definition, values: Mapping[str, Values]) -> Values:
        table = self._store.table(DIAGNOSTICS)
        if definition.dims[0] == UNIT:
            array = np.full(table.size(UNIT), np.nan, dtype=np.float32)
            for label, value in values.items():
                array[self._units[label]] = value
            return array
        if GROUP in definition.dims:
            self._add_groups(max(len(value) for value in values.values()))
        positions = self._positions[definition.dims[0]]
        array = np.full([table.size(dim) for dim in definition.dims], np.nan, dtype=np.float32)
        for label, value in values.items():
            place: tuple[int | slice, ...] = (positions[label], *(slice(0, size) for size in value.shape))
            array[place] = value
        return array

    def _add_layers(self, measured: Measured) -> None:
        known = self._positions.get(LAYER, {})
        per_layer = [row for variable, row in measured.items() if self._definitions[variable].dims[0] in {LAYER, UNIT}]
        fresh = [label for label in dict.fromkeys(label for row in per_layer for label in row) if label not in known]
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
        known = self._positions.get(PARAMETER, {})
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

    def _add_groups(self, count: int) -> None:
        table = self._store.table(DIAGNOSTICS)
        if count > table.size(GROUP):
            table.extend_axis(GROUP, {GROUP: np.arange(table.size(GROUP), count, dtype=np.int64)})

    def _by_task(self, table: Table, numbers: Mapping[str, float]) -> Values:
        known = [str(task) for task in table.axis(TASK).get(TASK, ())]
        fresh = [task for task in numbers if task not in known]
        if fresh:
            table.extend_axis(TASK, {TASK: np.array(fresh)})
        return np.array([numbers.get(task, np.nan) for task in (*known, *fresh)], dtype=np.float32)

    def _extend(self, dim: str, labels: list[str], coordinates: Mapping[str, Values]) -> None:
        positions = self._positions.setdefault(dim, {})
        for label in labels:
            positions[label] = len(positions)
        self._store.table(DIAGNOSTICS).extend_axis(dim, {dim: np.array(labels), **coordinates})


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
