"""What a probe is: it is handed a capture, the sight of one network at one step, and gives readings."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from plastikit.schema import Definition

Reading = Mapping[str, Mapping[str, Tensor]]
"""Variable name -> label (of a layer, a parameter or a network) -> values along the variable's further dimensions."""


class Rows(Mapping[str, Tensor]):
    """Values of several labels in one tensor, [label, ...]: cheaper to make and to hand over than a tensor for each."""

    def __init__(self, labels: Iterable[str], values: Tensor) -> None:
        self.parts: tuple[tuple[tuple[str, ...], Tensor], ...] = ((tuple(labels), values),)

    def __getitem__(self, label: str) -> Tensor:
        for labels, values in self.parts:
            if label in labels:
                return values[labels.index(label)]
        raise KeyError(label)

    def __iter__(self) -> Iterator[str]:
        return (label for labels, _ in self.parts for label in labels)

    def __len__(self) -> int:
        return sum(len(labels) for labels, _ in self.parts)

    def __or__(self, other: Rows) -> Rows:
        """Both, of labels that differ."""
        joined = Rows((), torch.empty(0))
        joined.parts = (*self.parts, *other.parts)
        return joined


class Needs(enum.Flag):
    """What a probe looks at; what no due probe needs is not captured."""

    FEATURES = enum.auto()
    PRE_ACTIVATIONS = enum.auto()
    FEATURE_GRADIENTS = enum.auto()
    PRE_GRADIENTS = enum.auto()
    PARAMETERS = enum.auto()
    INITIAL = enum.auto()
    GRADIENTS = enum.auto()
    UPDATES = enum.auto()
    OPTIMIZER = enum.auto()
    LOSSES = enum.auto()


class Tier(enum.Enum):
    """What a probe costs."""

    STEP = "S"
    """Cheap enough for every step."""
    PERIODIC = "P"
    """For a step now and then."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Gradients of one batch cut into pieces, each of samples of one group."""

    gradients: Tensor
    """Gradient of the mean loss over a piece's samples, all shared parameters as one vector: [piece, entry]."""
    groups: Tensor
    """The group of each piece, [piece]; all 0 where nobody said."""
    samples: Tensor
    """How many samples a piece has, [piece]."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One network at one due step. Tensors are detached, on the model's device, and not to be written to."""

    network: str
    """The network's name, the label of what is measured over the whole of it."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Post-activations of each layer, [sample, unit]."""
    pre_activations: Mapping[str, Tensor] = field(default_factory=dict)
    """What went into the activation function of a layer, [sample, unit]; no entry where a layer has none."""
    feature_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    """Gradient of the loss with respect to the features, [sample, unit]; no entry where no backward reached a layer."""
    pre_gradients: Mapping[str, Tensor] = field(default_factory=dict)
    """Gradient of the loss with respect to the pre-activations, [sample, unit]."""
    functions: Mapping[str, str] = field(default_factory=dict)
    """Each layer's function: ``relu``, ``tanh``, ``gelu``, ``lstm``, ``attention``, ...; no entry where unknown."""
    heads: Mapping[str, int] = field(default_factory=dict)
    """How many attention heads a layer's units divide into, one after the other; no entry for other layers."""
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
    optimizer_state: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The optimizer's state of each parameter after the update, as torch keeps it: ``exp_avg``, ``step``, ..."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The optimizer's settings for each parameter: ``lr``, ``betas``, ``eps``, ..."""
    pieces: Pieces | None = None
    """Gradients of pieces of the batch, where ``Monitor.losses`` was told the loss of each sample."""


@runtime_checkable
class Probe(Protocol):
    """A measurement: a pure function with its name, needs and passports around it."""

    @property
    def name(self) -> str:
        """What ``probes=`` calls it."""
        ...

    @property
    def tier(self) -> Tier:
        """What it costs."""
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
