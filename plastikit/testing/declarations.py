"""What a probe says of itself: its name, its passports and their dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plastikit.probes import PROBES
from plastikit.schema import (
    DIMENSIONS,
    GROUP,
    HEAD,
    LAYER,
    NETWORK,
    OBSERVED,
    PARAMETER,
    TRAINING_BATCH,
    UNIT,
    Definition,
)
from plastikit.watch.probe import Needs, Probe, Tier

_FIRST: Final = (LAYER, PARAMETER, NETWORK, UNIT)
_TEXTS: Final = ("variable", "id", "long_name", "units", "description", "valid_range", "pitfalls", "cost")


def types(probe: Probe) -> Iterable[str]:
    """Members of the wrong type."""
    name: Any = probe.name
    if not isinstance(name, str) or not name.isidentifier() or name == "default":
        yield f"its name is {name!r}, where letters, digits and underscores were expected"
    if not isinstance(probe.tier, Tier):
        yield f"its tier is {probe.tier!r}, where Tier.STEP or Tier.PERIODIC was expected"
    if not isinstance(probe.needs, Needs) or not probe.needs:
        yield f"its needs are {probe.needs!r}, where one or several of Needs were expected"
    definitions: Any = probe.definitions
    if not isinstance(definitions, tuple) or not definitions:
        yield f"its definitions are {definitions!r}, where a tuple of Definition was expected"
    elif wrong := [entry for entry in definitions if not isinstance(entry, Definition)]:
        yield f"among its definitions is {wrong[0]!r}, where a Definition was expected"
    if not isinstance(probe.axes, Mapping):
        yield f"its axes are {probe.axes!r}, where a mapping of dimensions to coordinates was expected"


def names(probe: Probe) -> Iterable[str]:
    """Names that are taken, or that no store can hold."""
    variables = [definition.variable for definition in probe.definitions]
    for variable in variables:
        if not variable.isidentifier() or variable in DIMENSIONS or variable.startswith(OBSERVED):
            yield f"{variable!r} cannot name a variable"
        if variables.count(variable) > 1:
            yield f"the variable {variable!r} has {variables.count(variable)} definitions"
    own = {name: make() for name, make in PROBES.items()}
    if probe.name in own and not isinstance(probe, type(own[probe.name])):
        yield f"{probe.name!r} is the name of one of plastikit's own probes"
    ids = {definition.variable: definition.id for entry in own.values() for definition in entry.definitions}
    for definition in probe.definitions:
        known = ids.get(definition.variable, definition.id)
        if known != definition.id:
            yield f"{definition.variable!r} is {known} in plastikit, and {definition.id} here: two need two names"


def passports(probe: Probe) -> Iterable[str]:
    """Passports that leave something open."""
    for definition in probe.definitions:
        for text in _TEXTS:
            value: Any = getattr(definition, text)
            if not isinstance(value, str) or not value.strip():
                yield f"the {text} of {definition.variable!r} is {value!r}; say it in words"
        if definition.variable not in definition.id or "/" not in definition.id:
            yield f"the id of {definition.variable!r} is {definition.id!r}; give such as {definition.variable}/name2024"
        if definition.source != TRAINING_BATCH:
            yield f"the source of {definition.variable!r} is {definition.source!r}; leave it out"
        for name, value in definition.parameters.items():
            if not name.isidentifier() or not isinstance(value, float | int | bool | str):
                yield f"the constant {name!r} of {definition.variable!r} is {value!r}, which a store cannot hold"
        if not isinstance(definition.reference, str):
            yield f"the reference of {definition.variable!r} is {definition.reference!r}; a text, which may be empty"


def dimensions(probe: Probe) -> Iterable[str]:
    """Dimensions that no store has, or that have no coordinates."""
    for definition in probe.definitions:
        for complaint in _of_dims(definition.dims, probe.axes):
            yield f"{definition.variable!r} has the dimensions {definition.dims}; {complaint}"
    used = {dim for definition in probe.definitions for dim in definition.dims}
    for dim, values in probe.axes.items():
        if dim not in used:
            yield f"no variable has the dimension {dim!r} of its axes"
        if not isinstance(values, tuple) or not values or not all(isinstance(value, float | int) for value in values):
            yield f"the coordinates of {dim!r} are {values!r}, where a tuple of numbers was expected"


def _of_dims(dims: tuple[str, ...], axes: Mapping[str, tuple[float, ...]]) -> Iterable[str]:
    if not isinstance(dims, tuple) or not dims or dims[0] not in _FIRST:
        yield f"a tuple was expected that begins with one of {', '.join(_FIRST)}"
        return
    if dims[0] == UNIT and len(dims) > 1:
        yield f"{UNIT!r} has to stand alone"
    for position, dim in enumerate(dims[1:], start=1):
        if dim not in DIMENSIONS:
            yield f"there is no {dim!r}, but: {', '.join(sorted(DIMENSIONS))}"
        elif dim not in (GROUP, HEAD) and dim not in axes:
            yield f"axes gives {dim!r} no coordinates"
        elif dim == GROUP and position != 1:
            yield f"{GROUP!r} has to be the second"
