"""Captures of one real training step of a small network, and what else a probe may be handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from plastikit.watch.probe import Capture, Needs, Pieces

SAMPLES: Final = 24
GROUPS: Final = 3
_UNITS: Final = 8
_TIME: Final = 2
_COUNT: Final = "step"
"""An optimizer's count of its updates, which is no measured number."""

FIELDS: Final[Mapping[Needs, tuple[str, ...]]] = MappingProxyType(
    {
        Needs.FEATURES: ("features",),
        Needs.PRE_ACTIVATIONS: ("pre_activations",),
        Needs.FEATURE_GRADIENTS: ("feature_gradients",),
        Needs.PRE_GRADIENTS: ("pre_gradients",),
        Needs.PARAMETERS: ("parameters",),
        Needs.INITIAL: ("initial",),
        Needs.GRADIENTS: ("gradients",),
        Needs.UPDATES: ("updated",),
        Needs.OPTIMIZER: ("optimizer_state", "settings"),
        Needs.LOSSES: ("pieces",),
    }
)
"""Which fields of a capture each need fills."""

LAYER_FIELDS: Final = ("features", "pre_activations", "feature_gradients", "pre_gradients")
_PARAMETER_FIELDS: Final = ("parameters", "initial", "gradients", "updated")


class _Network(nn.Module):
    """A layer of each kind: functions with a pre-activation, and a recurrent and an attention layer without."""

    functions: Final = ("relu", "tanh", "sigmoid", "gelu")

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(_UNITS, _UNITS) for _ in self.functions)
        self.norm = nn.LayerNorm(_UNITS)
        self.recurrent = nn.LSTM(_UNITS, _UNITS, batch_first=True)
        self.mix = nn.Linear(_UNITS, 3 * _UNITS)
        self.head = nn.Linear(_UNITS, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The outputs, the features of each layer, and what went into its function where it has one."""
        pre_activations, features = {}, {}
        hidden = inputs
        for function, linear in zip(self.functions, self.linear, strict=True):
            pre_activations[function] = linear(hidden)
            apply = getattr(nn.functional, function, None) or getattr(torch, function)
            features[function] = hidden = apply(pre_activations[function])
        steps = self.norm(hidden).unflatten(0, (-1, _TIME))
        recurrent, _ = self.recurrent(steps)
        features["lstm"] = recurrent.reshape(-1, _UNITS)
        query, key, value = self.mix(features["lstm"].unflatten(0, (-1, _TIME))).unflatten(-1, (3, 2, -1)).unbind(-3)
        mixed = nn.functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        features["attention"] = mixed.transpose(1, 2).reshape(-1, _UNITS)
        return self.head(features["attention"]).squeeze(-1), features, pre_activations


def ordinary(samples: int = SAMPLES) -> Capture:
    """A capture of the third update of Adam, of every field."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.inference_mode(mode=False):
        torch.manual_seed(0)
        network = _Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        initial = _copied(network)
        groups = torch.arange(samples).div(_TIME, rounding_mode="floor") % GROUPS
        for _ in range(2):
            optimizer.zero_grad()
            network(torch.randn(samples, _UNITS))[0].square().mean().backward()
            optimizer.step()
        optimizer.zero_grad()
        outputs, features, pre_activations = network(torch.randn(samples, _UNITS))
        # Far from the outputs: the samples agree where to go, as in a training that gets somewhere.
        losses = (outputs - 3 - torch.randn(samples)).square()
        before = _copied(network)
        pieces = _pieces(network, losses, groups)
        flowing = [*features.values(), *pre_activations.values()]
        reached = torch.autograd.grad(losses.mean(), flowing, retain_graph=True)
        losses.mean().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        gradients = {name: None if gradient is None else gradient.clone() for name, gradient in gradients.items()}
        optimizer.step()
    named = dict(network.named_parameters())
    per_layer = dict(zip((*features, *(f"{name} before" for name in pre_activations)), reached, strict=True))
    return Capture(
        network="model",
        features={name: value.detach() for name, value in features.items()},
        pre_activations={name: value.detach() for name, value in pre_activations.items()},
        feature_gradients={name: per_layer[name] for name in features},
        pre_gradients={name: per_layer[f"{name} before"] for name in pre_activations},
        functions={name: name for name in features},
        heads={"attention": 2},
        groups=dict.fromkeys(features, groups),
        parameters=before,
        initial=initial,
        gradients=gradients,
        updated=_copied(network),
        weights=frozenset(name for name, parameter in named.items() if parameter.ndim > 1),
        optimizer_state={name: dict(optimizer.state[parameter]) for name, parameter in named.items()},
        settings={
            name: {key: value for key, value in optimizer.param_groups[0].items() if key != "params"} for name in named
        },
        pieces=pieces,
    )


def without(capture: Capture, *fields: str) -> Capture:
    """The capture with these fields empty."""
    empty = Capture(network=capture.network)
    return replace(capture, **{name: getattr(empty, name) for name in fields})


def only(capture: Capture, needs: Needs) -> Capture:
    """The capture with what ``needs`` names alone; what merely describes layers and parameters stays."""
    return without(capture, *(name for need, names in FIELDS.items() if need not in needs for name in names))


def every_tensor(capture: Capture, change: Callable[[Tensor], Tensor]) -> Capture:
    """The capture with ``change`` made to every tensor of floating numbers."""

    def changed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value) if value.is_floating_point() else value
        if isinstance(value, Mapping):
            return {key: entry if key == _COUNT else changed(entry) for key, entry in value.items()}
        return value

    fields = (*LAYER_FIELDS, *_PARAMETER_FIELDS, "optimizer_state")
    pieces = capture.pieces and replace(capture.pieces, gradients=change(capture.pieces.gradients))
    return replace(capture, pieces=pieces, **{name: changed(getattr(capture, name)) for name in fields})


def moved(capture: Capture, device: str) -> Capture:
    """The capture on another device."""
    groups = {layer: value.to(device) for layer, value in capture.groups.items()}
    there = every_tensor(capture, lambda value: value.to(device))
    pieces = there.pieces and replace(
        there.pieces, groups=there.pieces.groups.to(device), samples=there.pieces.samples.to(device)
    )
    return replace(there, groups=groups, pieces=pieces)


def tensors(capture: Capture) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the capture, by where it lies."""

    def within(place: str, value: Any) -> Iterator[tuple[str, Tensor]]:
        if isinstance(value, Tensor):
            yield place, value
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                yield from within(f"{place}[{key!r}]", entry)
        elif isinstance(value, Pieces):
            yield from within(place, vars(value))

    for name, value in vars(capture).items():
        yield from within(name, value)


def of_layers(capture: Capture, change: Callable[[Tensor], Tensor]) -> Capture:
    """The capture with ``change`` made to what was seen of each layer, groups included where they have its samples."""
    changed: dict[str, Any] = {
        name: {key: change(value) for key, value in getattr(capture, name).items()} for name in LAYER_FIELDS
    }
    groups = {
        key: change(value[:, None])[:, 0] if changed["features"] else value for key, value in capture.groups.items()
    }
    return replace(capture, groups=groups, **changed)


def _with_nan(value: Tensor) -> Tensor:
    spoilt = value.clone()
    if spoilt.numel():
        spoilt.reshape(-1)[0] = torch.nan
    return spoilt


def _unreadable() -> Capture:
    capture = ordinary()
    kept: dict[str, Any] = {
        name: {layer: value for layer, value in getattr(capture, name).items() if layer != "relu"}
        for name in (*LAYER_FIELDS, "groups")
    }
    return replace(capture, unreadable=frozenset({"relu"}), **kept)


def _one_unit() -> Capture:
    narrow = of_layers(ordinary(), lambda value: value[:, :1])
    return replace(narrow, heads={"attention": 1})


def _without_gradients() -> Capture:
    capture = without(ordinary(), "feature_gradients", "pre_gradients", "pieces", "optimizer_state")
    return replace(capture, gradients=dict.fromkeys(capture.parameters))


def _one_group() -> Capture:
    capture = ordinary()
    pieces = capture.pieces and replace(capture.pieces, groups=torch.zeros_like(capture.pieces.groups))
    groups = {layer: torch.zeros_like(value) for layer, value in capture.groups.items()}
    return replace(capture, groups=groups, pieces=pieces)


@dataclass(frozen=True)
class Case:
    """A capture that a probe may be handed, by what is special about it."""

    name: str
    make: Callable[[], Capture]


ORDINARY: Final = Case("an ordinary step", ordinary)
EMPTY: Final = Case("nothing captured", lambda: Capture(network="model"))
UNREADABLE: Final = Case("an unreadable layer", _unreadable)
CASES: Final = (
    ORDINARY,
    EMPTY,
    UNREADABLE,
    Case("all zero", lambda: every_tensor(ordinary(), torch.zeros_like)),
    Case("all of one value", lambda: every_tensor(ordinary(), lambda value: torch.full_like(value, 0.5))),
    Case("NaN among the values", lambda: every_tensor(ordinary(), _with_nan)),
    Case("one sample", lambda: of_layers(ordinary(), lambda value: value[:1])),
    Case("no sample", lambda: of_layers(ordinary(), lambda value: value[:0])),
    Case("fewer samples than units", lambda: ordinary(samples=_TIME * 2)),
    Case("one unit", _one_unit),
    Case("bfloat16", lambda: every_tensor(ordinary(), lambda value: value.to(torch.bfloat16))),
    Case("float16", lambda: every_tensor(ordinary(), lambda value: value.to(torch.float16))),
    Case("float64", lambda: every_tensor(ordinary(), lambda value: value.to(torch.float64))),
    Case("no groups", lambda: without(ordinary(), "groups")),
    Case("one group", _one_group),
    Case("activations alone", lambda: only(ordinary(), Needs.FEATURES)),
    Case("parameters alone", lambda: only(ordinary(), Needs.PARAMETERS)),
    Case("no gradients", _without_gradients),
    Case("unknown functions", lambda: without(ordinary(), "functions", "heads", "pre_activations", "pre_gradients")),
)


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def _pieces(network: nn.Module, losses: Tensor, groups: Tensor) -> Pieces:
    """Two pieces of each group that has samples, each of half of them."""
    shared = [parameter for name, parameter in network.named_parameters() if not name.startswith("head")]
    gradients, of_groups, samples = [], [], []
    for group in groups.unique():
        for half in losses[groups == group].chunk(2):
            gradient = torch.autograd.grad(half.mean(), shared, retain_graph=True)
            gradients.append(torch.cat([entry.reshape(-1) for entry in gradient]))
            of_groups.append(group)
            samples.append(half.numel())
    return Pieces(gradients=torch.stack(gradients), groups=torch.stack(of_groups), samples=torch.tensor(samples))
