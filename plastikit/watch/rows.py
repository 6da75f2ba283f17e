"""Gradients of many pieces of a batch from two backward passes, where layers keep samples in rows of their own.

The gradient of a weight is a sum over rows, the samples: what each row adds is there after one backward pass, and a
piece's gradient is the sum over the rows of its samples. Nothing in a graph says that row i belongs to sample i. So a
second pass, that weighs each piece otherwise, has to come out as the pieces found say; if it does not, they are thrown
away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.graph import Node

_TOLERANCE: Final = 1e-3
"""Largest error of the second pass, over its norm: rounding stays far below, a row in a wrong piece far above.

In half precision it is two units in the last place, which is more.
"""

_ADDED: Final = {"AddmmBackward0": ("_saved_mat1", 0), "BaddbmmBackward0": ("_saved_batch1", 1)}
"""Of products with a bias: where a node keeps what went in, and the axis of its rows."""

_PASSED_OVER: Final = {"ToCopyBackward0": False, "TBackward0": True}
"""Nodes between a product and a parameter, and whether they transpose: autocast puts a copy of its own there."""


@dataclass(frozen=True)
class _Layer:
    """A product of rows with a weight, plus a bias, that both are looked at: by their place among the parameters."""

    node: Node
    weight: int
    bias: int
    is_transposed: bool
    """Whether the weight is [output, input], as in ``nn.Linear``."""


@dataclass(frozen=True)
class _Members:
    """Which samples are in which piece."""

    held: Bool[Tensor, "piece sample"]
    each: Sequence[Int[Tensor, "sample"]]
    """The samples of each piece."""
    alike: Int[Tensor, "piece sample"] | None
    """The same, where all pieces have as many of them."""


def gradients_of_rows(
    losses: Float[Tensor, "sample *rest"], pieces: Float[Tensor, "piece sample *rest"], parameters: Sequence[Tensor]
) -> dict[int, Float[Tensor, "piece entry"]]:
    """Give the gradients of ``losses`` weighed by each of ``pieces``, for those parameters whose layers allow it.

    Each sample is in one piece. Parameters that are left out have to be differentiated piece by piece. What layers
    compute in half precision, as under autocast, is summed over the rows in float32.
    """
    layers = _layers(losses, parameters)
    if not layers:
        return {}
    kind = losses.device.type
    # A model under autocast may be what the losses are told inside of: what is summed here is no part of it.
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        return _checked(layers, losses, pieces, parameters)


def _checked(
    layers: Sequence[_Layer], losses: Tensor, pieces: Tensor, parameters: Sequence[Tensor]
) -> dict[int, Float[Tensor, "piece entry"]]:
    """The gradients of those layers that a second pass agrees with."""
    biases = [parameters[layer.bias] for layer in layers]
    seen: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for place, layer in enumerate(layers):
            hooks.callback(layer.node.register_prehook(_keeper(seen, place)).remove)
        torch.autograd.grad(losses, biases, pieces.sum(dim=0), retain_graph=True)
    trial = _trial(len(pieces)).to(losses)
    weight = (trial.view(-1, *(1 for _ in losses.shape)) * pieces).sum(dim=0)
    sums = torch.autograd.grad(losses, biases, weight, retain_graph=True)

    members = _members(pieces)
    found: list[tuple[_Layer, Tensor, Tensor]] = []
    answers: list[Tensor] = []
    for place, layer in enumerate(layers):
        kept, axis = _ADDED[layer.node.name()]
        inputs: Tensor = getattr(layer.node, kept).detach()
        of_layer = _of_layer(_wide(inputs), _wide(seen[place]), members, axis=axis, is_transposed=layer.is_transposed)
        expected = sums[place].detach().flatten()
        if of_layer is None or of_layer[1].shape[1] != len(expected):
            continue
        error = torch.linalg.vector_norm(torch.mv(of_layer[1].mT, trial.to(of_layer[1])) - expected)
        # A comparison with NaN is false: what is not finite is left to the slower way.
        tolerance = max(_TOLERANCE, 2 * torch.finfo(inputs.dtype).eps)
        answers.append(error <= tolerance * torch.linalg.vector_norm(expected))
        found.append((layer, *of_layer))
    are_right: list[bool] = torch.stack(answers).tolist() if answers else []
    gradients: dict[int, Tensor] = {}
    for (layer, of_weight, of_bias), is_right in zip(found, are_right, strict=True):
        if is_right:
            gradients |= {layer.weight: of_weight, layer.bias: of_bias}
    return gradients


def _trial(pieces: int) -> Float[Tensor, "piece"]:
    """What the second pass weighs each piece with: powers of two, which change no rounding on the way to its rows."""
    place = torch.arange(1.0, pieces + 1.0)
    return torch.ldexp(place.cos().sign(), (place * 0.618 % 1 * 4).floor() - 2)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _members(pieces: Float[Tensor, "piece sample *rest"]) -> _Members:
    """Asks the device once."""
    held = (pieces.unsqueeze(-1) != 0).flatten(2).any(dim=2)
    piece, sample = held.cpu().nonzero().unbind(dim=1)
    counts = torch.bincount(piece, minlength=len(pieces)).tolist()
    in_order = sample.to(pieces.device)
    alike = in_order.view(len(pieces), -1) if len(set(counts)) == 1 else None
    return _Members(held, in_order.split(counts), alike)


def _keeper(seen: dict[int, Tensor], place: int) -> Callable[[tuple[Tensor, ...]], None]:
    def keep(gradients: tuple[Tensor, ...]) -> None:
        seen[place] = gradients[0].detach()

    return keep


def _of_layer(
    inputs: Tensor, gradient: Tensor, members: _Members, *, axis: int, is_transposed: bool
) -> tuple[Float[Tensor, "piece entry"], Float[Tensor, "piece entry"]] | None:
    """Gradients of weight and bias for each piece; None where the rows cannot be those of the samples."""
    pieces, samples = members.held.shape
    count = inputs.shape[axis]
    if inputs.device != members.held.device:
        return None
    if count == samples and not axis and members.alike is not None:
        # All pieces in one product, which puts them where they belong.
        given, out = inputs[members.alike], gradient[members.alike]
        return _product(given, out, is_transposed=is_transposed).flatten(1), out.sum(dim=1)
    if count == samples:
        chosen = [(inputs.index_select(axis, rows), gradient.index_select(axis, rows)) for rows in members.each]
        weights = [_product(given, out, is_transposed=is_transposed) for given, out in chosen]
        biases = [out.sum(dim=axis) for _, out in chosen]
    elif axis and len(inputs) * count == samples:
        # A layer of each group's own, the groups' samples one after the other.
        masks = members.held.to(gradient.dtype).view(pieces, len(inputs), count, 1)
        outs = [gradient * mask for mask in masks.unbind()]
        weights = [torch.bmm(inputs.mT, out) for out in outs]
        biases = [out.sum(dim=axis) for out in outs]
    else:
        return None
    return torch.stack([each.flatten() for each in weights]), torch.stack([each.flatten() for each in biases])


def _product(inputs: Tensor, gradient: Tensor, *, is_transposed: bool) -> Tensor:
    return gradient.mT @ inputs if is_transposed else inputs.mT @ gradient


def _layers(losses: Tensor, parameters: Sequence[Tensor]) -> list[_Layer]:
    """Layers whose weight and bias nothing else uses."""
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    used: dict[int, int] = {}
    layers: list[_Layer] = []
    for node in _nodes(losses):
        if node.name() in _PASSED_OVER:
            # What uses a parameter is what lies before it: autocast makes one copy for all.
            continue
        origins = [_origin(edge, places) for edge, _ in node.next_functions]
        for place, _ in origins:
            if place is not None:
                used[place] = used.get(place, 0) + 1
        layer = _layer(node, origins)
        if layer is not None:
            layers.append(layer)
    fits = {
        place
        for place, parameter in enumerate(parameters)
        if parameter.dtype in {torch.float32, torch.float64} and parameter.device == losses.device
    }
    return [
        layer for layer in layers if {layer.weight, layer.bias} <= fits and used[layer.weight] == used[layer.bias] == 1
    ]


def _layer(node: Node, origins: Sequence[tuple[int | None, bool]]) -> _Layer | None:
    if node.name() not in _ADDED or getattr(node, "_saved_alpha", 0) != 1 or getattr(node, "_saved_beta", 0) != 1:
        return None
    (bias, _), _, (weight, is_transposed) = origins
    return None if bias is None or weight is None else _Layer(node, weight, bias, is_transposed)


def _origin(node: Node | None, places: Mapping[int, int]) -> tuple[int | None, bool]:
    """Which parameter a node stands for, if any, and whether it is transposed on the way."""
    is_transposed = False
    while node is not None and node.name() in _PASSED_OVER:
        is_transposed ^= _PASSED_OVER[node.name()]
        node = node.next_functions[0][0]
    variable: Any = getattr(node, "variable", None)
    return None if variable is None else places.get(id(variable)), is_transposed


def _nodes(losses: Tensor) -> Iterator[Node]:
    """Every node of the graph, once."""
    waiting = [] if losses.grad_fn is None else [losses.grad_fn]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for edge, _ in node.next_functions:
            if edge is not None and edge not in seen:
                seen.add(edge)
                waiting.append(edge)
