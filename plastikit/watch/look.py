"""One look at a model on inputs of the user's, which leaves the model and the random state as they were."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plastikit.errors import ConfigurationError, NothingToWatchError, UnknownNameError
from plastikit.probes import PROBES
from plastikit.schema import UNIT
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.groups import group_ids
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.packing import Readings, merge, to_host
from plastikit.watch.probe import Capture, Probe, Reading
from plastikit.watch.registry import make_probe, probe_names
from plastikit.watch.sharded import whole
from plastikit.watch.undisturbed import undisturbed

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
    batches = named_inputs(inputs, models, is_mapping=isinstance(model, Mapping))
    for name in batches:
        network = models[name]
        watch = NetworkWatch(
            name,
            network,
            find_layers(network, layers),
            prefix=prefix_of(model, name),
            groups=fixed(groups),
            sees_all=True,
        )
        reading, problems = look(watch, batches[name], chosen)
        merge(readings, reading)
        for problem in problems:
            warnings.warn(problem, stacklevel=2)
    return _labelled(readings, chosen)


def look(
    watch: NetworkWatch, inputs: Any, probes: Sequence[Probe], initial: Mapping[str, Tensor] | None = None
) -> tuple[Reading, list[str]]:
    """Readings of one network on ``inputs``, in evaluation mode; and what could not be measured."""
    watch.arm()
    try:
        with undisturbed(watch.model), torch.no_grad():
            call(watch.model, inputs)
            sight = watch.sight()
            capture = Capture(
                network=watch.name,
                **sight.shown(),
                parameters={name: whole(parameter) for name, parameter in watch.current().items()},
                initial=initial or {},
                gradients={name: whole(gradient) for name, gradient in watch.gradients().items()},
                weights=watch.weights,
            )
            readings: Readings = {}
            for probe in probes:
                merge(readings, probe(capture))
    finally:
        watch.disarm()
    return readings, sight.problems


def resolve_probes(probes: Probes) -> list[Probe]:
    """Probe objects for what ``probes=`` may say.

    ``"default"`` is plastikit's own probes; those that other distributions offer are named.

    Raises:
        ConfigurationError: none, something that is no probe, or two that cannot be recorded side by side.
        UnknownNameError: a name that stands for no probe.
    """
    if isinstance(probes, str) and probes == "default":
        return [make() for make in PROBES.values()]
    resolved: list[Probe] = []
    for entry in [probes] if isinstance(probes, str) else probes:
        if isinstance(entry, Probe) and not isinstance(entry, type):
            resolved.append(entry)
        elif not isinstance(entry, str):
            raise ConfigurationError(
                f"{entry!r} is no probe; give names ({', '.join(probe_names())}) or objects such as "
                "FeatureRank(delta=0.05)"
            )
        else:
            resolved.append(make_probe(entry))
    if not resolved:
        raise ConfigurationError(f"no probe was given; give some of: {', '.join(probe_names())}, or 'default' for all")
    _check(resolved)
    return resolved


def _check(probes: Sequence[Probe]) -> None:
    """Two probes must not give one variable, nor one axis with different values."""
    variables: set[str] = set()
    axes: dict[str, tuple[float, ...]] = {}
    for probe in probes:
        for definition in probe.definitions:
            if definition.variable in variables:
                raise ConfigurationError(
                    f"two probes give the variable {definition.variable!r}; give one, or record them in two runs"
                )
            variables.add(definition.variable)
        for dim, values in probe.axes.items():
            if axes.setdefault(dim, values) != values:
                raise ConfigurationError(
                    f"two probes give the axis {dim!r} different values, {list(axes[dim])} and {list(values)}; "
                    "give them the same, or record them in two runs"
                )


def named_models(model: nn.Module | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks by name; a single module is called ``model``.

    Raises:
        NothingToWatchError: a mapping without entries.
    """
    if isinstance(model, Mapping) and not model:
        raise NothingToWatchError("the mapping of models is empty; give at least one: {'name': module}")
    return dict(model) if isinstance(model, Mapping) else {"model": model}


def named_inputs(inputs: Any, known: Iterable[str], *, is_mapping: bool) -> dict[str, Any]:
    """What each network is called with, by its name.

    Raises:
        ConfigurationError: several networks, and inputs that do not say for which.
        UnknownNameError: inputs for a network that there is not.
    """
    names = list(known)
    if not is_mapping:
        return {names[0]: inputs}
    if not isinstance(inputs, Mapping):
        raise ConfigurationError(
            f"inputs are a {type(inputs).__name__}, where the networks are {', '.join(names)}; "
            "give a mapping of their names to what each is called with"
        )
    for name in inputs:
        if name not in names:
            raise UnknownNameError.of("network", str(name), names)
    return dict(inputs)


def prefix_of(model: nn.Module | Mapping[str, nn.Module], name: str) -> str:
    """What stands before the names of a network's layers: its own name, where there are several networks."""
    return f"{name}." if isinstance(model, Mapping) else ""


def fixed(groups: Sequence[int] | Tensor | None) -> Groups | None:
    """A function that answers every forward with the same groups."""
    if groups is None:
        return None
    given = group_ids(groups)
    return lambda *_args, **_kwargs: given


def call(model: nn.Module, inputs: Any) -> None:
    """A forward on one argument, a tuple of them, or a dictionary of keywords."""
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
