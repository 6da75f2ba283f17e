"""One look at a model on inputs of the user's, which leaves the model and the random state as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plastikit.probes import PROBES
from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.schema import UNIT
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.probe import Needs, Probe, Reading
from plastikit.watch.recorder import Readings, merge, to_host

Probes = str | Sequence[str | Probe]
"""``"default"``; or names of probes, and probes with settings of the caller's."""

Values = dict[str, dict[str, Any]]


def measure(
    model: nn.Module | Mapping[str, nn.Module],
    inputs: Any,
    *,
    probes: Probes = "default",
    layers: Layers = AUTO,
    groups: Sequence[int] | None = None,
) -> Values:
    """One look at a model on a batch: no store, no training, nothing changed.

    Args:
        model: A module, or a mapping of names to modules.
        inputs: What the model is called with: one argument, a tuple of them, or a dictionary of keywords; with several
            models a mapping of their names to that.
        probes: Names or probes, as in ``attach``.
        layers: Which modules to watch, as in ``attach``.
        groups: One integer per sample, such as its task.

    Returns:
        Variable -> layer, parameter or network -> a number; a mapping of thresholds to numbers where the variable has
        several; an array over the units for ``unit_activation``. Gradients are measured where the model holds any.
    """
    chosen = resolve_probes(probes)
    readings: Readings = {}
    models = named_models(model)
    for name, network in models.items():
        watch = NetworkWatch(
            name, network, find_layers(network, layers), prefix=prefix_of(model, name), groups=fixed(groups), sees_all=True
        )
        merge(readings, look(watch, inputs[name] if isinstance(model, Mapping) else inputs, chosen))
    return _labelled(readings, chosen)


def look(watch: NetworkWatch, inputs: Any, probes: Sequence[Probe]) -> Reading:
    """Readings of one network on ``inputs``, in evaluation mode."""
    watch.arm()
    try:
        with undisturbed(watch.model), torch.no_grad():
            _call(watch.model, inputs)
            capture, _ = watch.capture(
                Needs.FEATURES | Needs.GRADIENTS, parameters=watch.current(), initial={}, updated={}
            )
            readings: Readings = {}
            for probe in probes:
                merge(readings, probe(capture))
    finally:
        watch.disarm()
    return readings


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; module modes, buffers and random state as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    if not torch.equal(buffer, buffers[name]):
                        buffer.copy_(buffers[name])


def resolve_probes(probes: Probes) -> list[Probe]:
    """Probe objects for what ``probes=`` may say.

    Raises:
        UnknownNameError: a name that stands for no probe.
    """
    if probes == "default":
        return [make() for make in PROBES.values()]
    resolved: list[Probe] = []
    for entry in [probes] if isinstance(probes, str) else probes:
        if not isinstance(entry, str):
            resolved.append(entry)
        elif entry in PROBES:
            resolved.append(PROBES[entry]())
        else:
            raise UnknownNameError.of("probe", entry, PROBES)
    if not resolved:
        raise ConfigurationError(f"no probe was given; give some of: {', '.join(PROBES)}, or 'default' for all")
    return resolved


def named_models(model: nn.Module | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks by name; a single module is called ``model``."""
    return dict(model) if isinstance(model, Mapping) else {"model": model}


def prefix_of(model: nn.Module | Mapping[str, nn.Module], name: str) -> str:
    """What stands before the names of a network's layers: its own name, where there are several networks."""
    return f"{name}." if isinstance(model, Mapping) else ""


def fixed(groups: Sequence[int] | Tensor | None) -> Groups | None:
    """A function that answers every forward with the same groups."""
    if groups is None:
        return None
    given = torch.as_tensor(groups, dtype=torch.int64)
    return lambda *_args, **_kwargs: given


def _call(model: nn.Module, inputs: Any) -> None:
    if isinstance(inputs, Mapping):
        model(**inputs)
    elif isinstance(inputs, tuple):
        model(*inputs)
    else:
        model(inputs)


def _labelled(readings: Readings, probes: Sequence[Probe]) -> Values:
    definitions = {definition.variable: definition for probe in probes for definition in probe.definitions}
    axes = {dim: values for probe in probes for dim, values in probe.axes.items()}

    def label(value: np.ndarray[Any, Any], dims: tuple[str, ...]) -> Any:
        if not dims:
            return float(value)
        if dims == (UNIT,):
            return value
        keys = axes.get(dims[0], range(len(value)))
        return {key: label(entry, dims[1:]) for key, entry in zip(keys, value, strict=True)}

    def inner(variable: str) -> tuple[str, ...]:
        dims = definitions[variable].dims
        return dims if dims == (UNIT,) else dims[1:]

    return {
        variable: {name: label(value, inner(variable)) for name, value in row.items()}
        for variable, row in to_host(readings).items()
    }
