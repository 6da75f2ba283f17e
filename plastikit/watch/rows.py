"""Gradients of many pieces of a batch from two backward passes, where layers keep samples in rows of their own.

The gradient of a weight is a sum over rows, the samples: what each row adds is there after one backward pass, and a
piece's gradient is the sum over the rows of its samples. Nothing in a graph says that row i belongs to sample i. So a
second pass, that weighs each piece otherwise, has to come out as the pieces found say; if it does not, they are thrown
away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import Node

_TOLERANCE: Final = 1e-3
"""Largest error of the second pass, over its norm: rounding stays far below, a row in a wrong piece far above."""

_ADDED: Final = {"AddmmBackward0": ("_saved_mat1", 0), "BaddbmmBackward0": ("_saved_batch1", 1)}
"""Of products with a bias: where a node keeps what went in, and the axis of its rows."""


@dataclass(frozen=True)
class _Layer:
    """A product of rows with a weight, plus a bias, that both are looked at: by their place among the parameters."""

    node: Node
    weight: int
    bias: int
    is_transposed: bool
    """Whether the weight is [output, input], as in ``nn.Linear``."""


def gradients_of_rows(
    losses: Float[Tensor, "sample *rest"], pieces: Float[Tensor, "piece sample *rest"], parameters: Sequence[Tensor]
) -> dict[int, Float[Tensor, "piece entry"]]:
    """Give the gradients of ``losses`` weighed by each of ``pieces``, for those parameters whose layers allow it.

    Each sample is in one piece. Parameters that are left out have to be differentiated piece by piece.
    """
    layers = _layers(losses, parameters)
    if not layers:
        return {}
    members = [(piece != 0).flatten(1).any(dim=1).nonzero().squeeze(1) for piece in pieces.unsqueeze(-1)]
    biases = [parameters[layer.bias] for layer in layers]
    seen: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for place, layer in enumerate(layers):
            hooks.callback(layer.node.register_prehook(_keeper(seen, place)).remove)
        torch.autograd.grad(losses, biases, pieces.sum(dim=0), retain_graph=True)
    trial = torch.cos(torch.arange(1.0, len(pieces) + 1.0)).to(losses)
    weight = torch.tensordot(trial, pieces, dims=1)
    sums = torch.autograd.grad(losses, biases, weight, retain_graph=True)

    found: dict[int, Tensor] = {}
    for place, layer in enumerate(layers):
        of_bias = _of_layer(layer, seen[place], members, losses.shape[0])
        if of_bias is None:
            continue
        weights, bias = of_bias
        expected = sums[place].detach().flatten()
        error = torch.linalg.vector_norm(torch.mv(bias.mT, trial) - expected)
        # A comparison with NaN is false: what is not finite is left to the slower way.
        if bool(error <= _TOLERANCE * torch.linalg.vector_norm(expected)):
            found |= {layer.weight: weights, layer.bias: bias}
    return found


def _keeper(seen: dict[int, Tensor], place: int) -> Callable[[tuple[Tensor, ...]], None]:
    def keep(gradients: tuple[Tensor, ...]) -> None:
        seen[place] = gradients[0].detach()

    return keep


def _of_layer(
    layer: _Layer, gradient: Tensor, members: Sequence[Tensor], samples: int
) -> tuple[Float[Tensor, "piece entry"], Float[Tensor, "piece entry"]] | None:
    """Gradients of weight and bias for each piece; None where the rows cannot be those of the samples."""
    kept, axis = _ADDED[layer.node.name()]
    inputs: Tensor = getattr(layer.node, kept).detach()
    count = inputs.shape[axis]
    if count == samples and not axis and len({len(rows) for rows in members}) == 1:
        # All pieces in one product, which puts them where they belong.
        given, out = inputs[torch.stack(list(members))], gradient[torch.stack(list(members))]
        return _product(given, out, is_transposed=layer.is_transposed).flatten(1), out.sum(dim=1)
    if count == samples:
        chosen = [(inputs.index_select(axis, rows), gradient.index_select(axis, rows)) for rows in members]
        weights = [_product(given, out, is_transposed=layer.is_transposed) for given, out in chosen]
        biases = [out.sum(dim=axis) for _, out in chosen]
    elif axis and inputs.shape[0] * count == samples:
        # A layer of each group's own, the groups' samples one after the other.
        masks = torch.zeros(len(members), samples, dtype=gradient.dtype, device=gradient.device)
        for piece, rows in enumerate(members):
            masks[piece, rows] = 1.0
        outs = [gradient * mask.view(inputs.shape[0], count, 1) for mask in masks]
        weights = [_product(inputs, out, is_transposed=False) for out in outs]
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
        edges = [edge for edge, _ in node.next_functions]
        for edge in edges:
            own = _place(edge, places)
            if own is not None:
                used[own] = used.get(own, 0) + 1
        layer = _layer(node, edges, places)
        if layer is not None:
            layers.append(layer)
    fits = {place for place, parameter in enumerate(parameters) if parameter.dtype in {torch.float32, torch.float64}}
    return [
        layer for layer in layers if {layer.weight, layer.bias} <= fits and used[layer.weight] == used[layer.bias] == 1
    ]


def _layer(node: Node, edges: Sequence[Node | None], places: Mapping[int, int]) -> _Layer | None:
    if node.name() not in _ADDED or getattr(node, "_saved_alpha", 0) != 1 or getattr(node, "_saved_beta", 0) != 1:
        return None
    bias, weight = _place(edges[0], places), edges[2]
    is_transposed = weight is not None and weight.name() == "TBackward0"
    if is_transposed and weight is not None:
        weight = weight.next_functions[0][0]
    place = _place(weight, places)
    return None if bias is None or place is None else _Layer(node, place, bias, is_transposed)


def _place(node: Node | None, places: Mapping[int, int]) -> int | None:
    """Which parameter a node stands for, if any."""
    variable: Any = getattr(node, "variable", None)
    return None if variable is None else places.get(id(variable))


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
