"""What a probe does with a capture: it reads, and leaves everything as it is."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from plastikit.schema import GROUP, HEAD, NETWORK, PARAMETER, UNIT, Definition
from plastikit.testing.captures import CASES, EMPTY, LAYER_FIELDS, ORDINARY, UNREADABLE, Case, moved, only, tensors
from plastikit.watch.probe import Capture, Needs, Probe, Reading

_OF_LAYERS: Final = Needs.FEATURES | Needs.PRE_ACTIVATIONS | Needs.FEATURE_GRADIENTS | Needs.PRE_GRADIENTS
_INTERVAL: Final = re.compile(r"^\s*[\[(]\s*(-?[\d.]+|-inf)\s*,\s*(-?[\d.]+(?=\s*[\])])|)")
_ROUNDING: Final = 1e-5
_WARM: Final = 0.02
_TOO_NARROW: Final = (torch.float16, torch.bfloat16)


def readings(probe: Probe) -> Iterable[str]:
    """Values that do not fit their passports, whatever is captured."""
    definitions = {definition.variable: definition for definition in probe.definitions}
    for case, device in [*((case, "cpu") for case in CASES), *([(ORDINARY, "cuda")] * torch.cuda.is_available())]:
        capture = moved(case.make(), device)
        for variable, row in _read(probe, capture, case).items():
            if variable not in definitions:
                yield f"on {case.name} it gave {variable!r}, of which there is no definition"
                return
            for label, value in row.items():
                if label not in (known := _labels(capture, definitions[variable].dims[0])):
                    yield f"on {case.name} {variable} has the label {label!r}, where the capture has {sorted(known)}"
                elif complaint := _of_tensor(value, device) or _of_shape(value, probe, capture, variable, label):
                    yield f"on {case.name} {variable} of {label!r} {complaint}"


def _of_tensor(value: object, device: str) -> str | None:
    """What is wrong with one value, whatever it measures; None where nothing is."""
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, where a tensor was expected"
    found = {
        f"lies on {value.device}, where the capture lies on {device}": value.device.type != device,
        "tracks gradients; detach what it is computed from": value.requires_grad,
        f"is of {value.dtype}; reduce in float32 at least": value.dtype in _TOO_NARROW or value.is_complex(),
        "is infinite; what cannot be measured is NaN": bool(torch.isinf(value).any()),
    }
    return next((complaint for complaint, is_wrong in found.items() if is_wrong), None)


def _of_shape(value: Tensor, probe: Probe, capture: Capture, variable: str, label: str) -> str | None:
    definition = next(entry for entry in probe.definitions if entry.variable == variable)
    sizes = _sizes(probe, capture, definition, label)
    if value.ndim == len(sizes) and all(size in known for size, known in zip(value.shape, sizes, strict=True)):
        return None
    wanted = ", ".join(f"{max(known)}" for known in sizes)
    return f"has the shape {tuple(value.shape)}, where its dimensions {definition.dims} make ({wanted})"


def _labels(capture: Capture, dim: str) -> set[str]:
    if dim == NETWORK:
        return {capture.network}
    if dim == PARAMETER:
        return {*capture.parameters, *capture.gradients, *capture.updated, *capture.optimizer_state}
    return {label for name in LAYER_FIELDS for label in getattr(capture, name)}


def _sizes(probe: Probe, capture: Capture, definition: Definition, label: str) -> list[range | tuple[int, ...]]:
    """The sizes that each axis of a value may have."""
    if definition.dims == (UNIT,):
        return [
            (next(getattr(capture, name)[label].shape[1] for name in LAYER_FIELDS if label in getattr(capture, name)),)
        ]
    given = [*capture.groups.values(), *([] if capture.pieces is None else [capture.pieces.groups])]
    groups = max((int(of_one.max()) + 1 for of_one in given if of_one.numel()), default=0)
    of_dims: dict[str, range | tuple[int, ...]] = {
        **{dim: (len(values),) for dim, values in probe.axes.items()},
        GROUP: range(groups + 1),
        HEAD: (capture.heads.get(label, 0),),
    }
    return [of_dims[dim] for dim in definition.dims[1:]]


def used(probe: Probe) -> Iterable[str]:
    """Passports of variables that an ordinary training step gives no value of."""
    reading = _read(probe, ORDINARY.make(), ORDINARY)
    for definition in probe.definitions:
        row = reading.get(definition.variable, {})
        if not any(bool(torch.isfinite(value).any()) for value in row.values()):
            yield f"{definition.variable!r} has a passport and no value on {ORDINARY.name}"


def ranges(probe: Probe) -> Iterable[str]:
    """Values of an ordinary training step outside the range that the passport begins with."""
    reading = _read(probe, ORDINARY.make(), ORDINARY)
    for definition in probe.definitions:
        interval = _INTERVAL.match(definition.valid_range)
        if not interval:
            continue
        low, high = float(interval[1]), float(interval[2] or "inf")
        for label, value in reading.get(definition.variable, {}).items():
            measured = value[torch.isfinite(value)].double()
            if bool(((measured < low - _ROUNDING) | (measured > high + _ROUNDING)).any()):
                yield f"{definition.variable} of {label!r} leaves its range, {definition.valid_range}"


def needs(probe: Probe) -> Iterable[str]:
    """Readings that change with what the probe does not say it needs."""
    capture = ORDINARY.make()
    whole, needed = _read(probe, capture, ORDINARY), _read(probe, only(capture, probe.needs), ORDINARY)
    for difference in _differences(whole, needed):
        yield f"{difference} once the capture holds no more than its needs, {probe.needs!r}"


def missing(probe: Probe) -> Iterable[str]:
    """Values where nothing was captured, or over a whole network of which a layer is missing."""
    for variable, row in _read(probe, EMPTY.make(), EMPTY).items():
        for label, value in row.items():
            if not bool(torch.isnan(value).all()):
                yield f"{variable} of {label!r} has a value where {EMPTY.name}; give NaN, or no entry"
    whole = {definition.variable for definition in probe.definitions if definition.dims[0] == NETWORK}
    if probe.needs & _OF_LAYERS != probe.needs:
        return
    for variable, row in _read(probe, UNREADABLE.make(), UNREADABLE).items():
        if variable in whole and not all(bool(torch.isnan(value).all()) for value in row.values()):
            yield f"{variable} has a value over all layers where one is unreadable; give NaN, or no entry"


def determined(probe: Probe) -> Iterable[str]:
    """Readings that differ from one time to the next, random numbers drawn, and the state of torch changed.

    A probe may keep what a search is to begin from the next time, which moves its values by a hair.
    """
    before = _random_state()
    first = _read(probe, ORDINARY.make(), ORDINARY)
    if _random_state() != before:
        yield "it draws random numbers, which changes the training that it watches"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        second = _read(probe, ORDINARY.make(), ORDINARY)
    for difference in _differences(first, second):
        yield f"{difference} when the same capture is measured again"
    with torch.no_grad():
        probe(ORDINARY.make())
        for difference in _differences(first, probe(ORDINARY.make()), within=_WARM):
            yield f"{difference} when the same probe measures the same capture again"
    with torch.enable_grad():
        probe(ORDINARY.make())
        if not torch.is_grad_enabled():
            yield "it switches gradients off; the monitor does that"


def untouched(probe: Probe) -> Iterable[str]:
    """What it wrote into the capture."""
    for case in (ORDINARY, UNREADABLE):
        capture = case.make()
        before = {name: (value._version, value.clone()) for name, value in tensors(capture)}
        _read(probe, capture, case)
        after = dict(tensors(capture))
        if after.keys() != before.keys():
            yield f"it adds to the capture, or takes away from it: {', '.join(sorted(after.keys() ^ before.keys()))}"
        for name, value in after.items():
            version, copy = before.get(name, (value._version, value))
            if value._version != version or not torch.equal(value, copy):
                yield f"it writes into {name} of the capture"


def _read(probe: Probe, capture: Capture, case: Case) -> Reading:
    try:
        with torch.no_grad():
            # What a probe keeps from one capture to the next belongs to one network.
            reading: Any = copy.deepcopy(probe)(capture)
    except Exception as error:
        raise AssertionError(f"{type(probe).__name__} raises {type(error).__name__} on {case.name}: {error}") from error
    if isinstance(reading, Mapping) and all(isinstance(row, Mapping) for row in reading.values()):
        return reading
    raise AssertionError(
        f"{type(probe).__name__} gives {reading!r} on {case.name}, where a mapping of variables to mappings of "
        "labels to tensors was expected"
    )


def _random_state() -> tuple[Any, ...]:
    of_numpy = np.random.get_state()  # noqa: NPY002  the state that others draw from
    return torch.get_rng_state().tolist(), str(of_numpy), random.getstate()


def _differences(one: Reading, other: Reading, *, within: float = 0.0) -> Iterable[str]:
    for variable in sorted(one.keys() | other.keys()):
        of_one, of_other = one.get(variable, {}), other.get(variable, {})
        for label in sorted(of_one.keys() | of_other.keys()):
            value, again = of_one.get(label), of_other.get(label)
            if value is None or again is None or not _is_same(value, again, within):
                yield f"{variable} of {label!r} is another"
                return


def _is_same(value: Tensor, again: Tensor, within: float) -> bool:
    """NaN being the same as NaN."""
    if value.shape != again.shape:
        return False
    return torch.allclose(value.detach().double(), again.detach().double(), rtol=within, atol=0.0, equal_nan=True)
