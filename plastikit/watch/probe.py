"""What a probe is: it is handed a capture, the sight of one network at one step, and gives readings."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from plastikit.schema import Definition

Reading = Mapping[str, Mapping[str, Tensor]]
"""Variable name -> label (of a layer, a parameter or a network) -> values along the variable's further dimensions."""


class Needs(enum.Flag):
    """What a probe looks at; what no due probe needs is not captured."""

    FEATURES = enum.auto()
    PARAMETERS = enum.auto()
    INITIAL = enum.auto()
    GRADIENTS = enum.auto()
    UPDATES = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One network at one due step. Tensors are detached, on the model's device, and not to be written to."""

    network: str
    """The network's name, the label of what is measured over the whole of it."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Post-activations of each layer, [sample, unit]."""
    groups: Mapping[str, Tensor] = field(default_factory=dict)
    """The group (task) of each sample of a layer, [sample]; empty where nobody said."""
    unreadable: frozenset[str] = frozenset()
    """Layers that are left out because their activations were overwritten: a value over all layers is then unknown."""
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters before the update."""
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters when the monitor was attached."""
    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)
    """Gradients as the optimizer sees them; None where there is none, and no entry where that is not known."""
    updated: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters after the update."""
    weights: frozenset[str] = frozenset()
    """Which parameters are weights; the others are biases and normalisation gains."""


@runtime_checkable
class Probe(Protocol):
    """A measurement: a pure function with its name, needs and passports around it."""

    @property
    def name(self) -> str:
        """What ``probes=`` calls it."""
        ...

    @property
    def needs(self) -> Needs:
        """What it looks at."""
        ...

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The passport of each variable that it gives."""
        ...

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """The coordinates of dimensions of its own, such as tau."""
        ...

    def __call__(self, capture: Capture) -> Reading:
        """Measure; runs without gradients, draws no random numbers and leaves the capture as it is."""
        ...
