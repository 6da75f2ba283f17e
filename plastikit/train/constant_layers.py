"""Layers that are computed through and never learn: nobody watches them, and of their gradients only inputs' are asked.

So activations are written over as soon as they are used, and a row whose gradient is zero is left out on the way back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from plastikit.train.rows import is_host

_WORTH_PICKING: Final = 0.75
"""Up to this share of the rows, to pick them out costs less than to take all."""


class ConstantLayers(nn.Sequential):
    """Linear layers and ReLUs, each of which writes over what the one before put out.

    The first is linear, so that the input is left alone; every linear layer has a bias, and no weight asks for a
    gradient.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        is_known = all(isinstance(layer, nn.ReLU) or _has_bias(layer) for layer in self)
        is_linear_first = isinstance(next(iter(self), None), nn.Linear)
        if not (is_known and is_linear_first) or any(each.requires_grad for each in self.parameters()):
            raise TypeError(
                f"{self} are not constant layers: those are linear ones with a bias and ReLUs, of which a linear one "
                "is the first, and no weight of theirs asks for a gradient"
            )

    def forward(self, hidden: Float[Tensor, "row unit"]) -> Float[Tensor, "row unit"]:
        """Give what the last layer puts out."""
        picks_rows = is_host(hidden.device) and not torch.compiler.is_compiling()
        if picks_rows and hidden.requires_grad and torch.is_grad_enabled():
            outputs: Tensor = _PickedRows.apply(hidden, self)  # type: ignore[no-untyped-call]
            return outputs
        for layer in self:
            hidden = _overwriting(layer, hidden)
        return hidden


class _PickedRows(torch.autograd.Function):
    """Goes back with the rows alone that have a gradient.

    Of two critics' values the smaller counts, so that half of all rows have none. How many there are must be known on
    the CPU: a GPU would have to be waited for.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, layers: ConstantLayers) -> Tensor:
        needed: list[Tensor] = []
        for layer in layers:
            hidden = _overwriting(layer, hidden)
            needed.append(layer.weight if isinstance(layer, nn.Linear) else hidden)
        ctx.is_linear = [isinstance(layer, nn.Linear) for layer in layers]
        ctx.save_for_backward(*needed)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        given = gradient
        # Faster than any(); numbers that are none count as gradients.
        low, high = torch.aminmax(given, dim=1)
        rows = ((low != 0.0) | (high != 0.0)).nonzero().squeeze(1)
        is_picked = len(rows) <= _WORTH_PICKING * len(given)
        if is_picked:
            gradient = given.index_select(0, rows)
        for is_linear, needed in zip(reversed(ctx.is_linear), reversed(ctx.saved_tensors), strict=True):
            if is_linear:
                gradient = torch.mm(gradient, needed)
            else:
                gradient = torch.ops.aten.threshold_backward.grad_input(
                    gradient,
                    needed.index_select(0, rows) if is_picked else needed,
                    0.0,
                    grad_input=torch.empty_like(given) if gradient is given else gradient,
                )
        if is_picked:
            gradient = given.new_zeros(len(given), gradient.shape[1]).index_copy_(0, rows, gradient)
        return gradient, None


def _has_bias(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and isinstance(layer.bias, Tensor)


def _overwriting(layer: nn.Module, hidden: Tensor) -> Tensor:
    # A bias that is added to a finished product costs less than one that the product starts from.
    return torch.mm(hidden, layer.weight.T).add_(layer.bias) if isinstance(layer, nn.Linear) else hidden.relu_()
