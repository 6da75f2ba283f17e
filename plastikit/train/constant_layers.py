"""Layers that are computed through and never learn: nobody watches them, and of their gradients only inputs' are asked.

So activations are written over as soon as they are used, and a row whose gradient is zero is left out on the way back.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plastikit.train.rows import is_host

_WORTH_PICKING: Final = 0.75
"""Up to this share of the rows, to pick them out costs less than to take all."""


class ConstantLayers(nn.Sequential):
    """Linear layers and ReLUs, each of which writes over what the one before put out."""

    def forward(self, hidden: Float[Tensor, "row unit"]) -> Float[Tensor, "row unit"]:
        """Give what the last layer puts out; the input itself is left alone."""
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
        after_relu = []
        for layer in layers:
            hidden = _overwriting(layer, hidden)
            if isinstance(layer, nn.ReLU):
                after_relu.append(hidden)
        ctx.layers = layers
        ctx.save_for_backward(*after_relu)
        return hidden

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        given, after_relu = gradient, list(ctx.saved_tensors)
        # Faster than any(); numbers that are none count as gradients.
        low, high = torch.aminmax(given, dim=1)
        rows = ((low != 0.0) | (high != 0.0)).nonzero().squeeze(1)
        is_picked = len(rows) <= _WORTH_PICKING * len(given)
        if is_picked:
            gradient = given.index_select(0, rows)
        for layer in reversed(ctx.layers):
            if isinstance(layer, nn.Linear):
                gradient = torch.mm(gradient, layer.weight)
            else:
                output = after_relu.pop()
                gradient = torch.ops.aten.threshold_backward.grad_input(
                    gradient,
                    output.index_select(0, rows) if is_picked else output,
                    0.0,
                    grad_input=torch.empty_like(given) if gradient is given else gradient,
                )
        if is_picked:
            gradient = given.new_zeros(len(given), gradient.shape[1]).index_copy_(0, rows, gradient)
        return gradient, None


def _overwriting(layer: nn.Module, hidden: Tensor) -> Tensor:
    # A bias that is added to a finished product costs less than one that the product starts from.
    return torch.mm(hidden, layer.weight.T).add_(layer.bias) if isinstance(layer, nn.Linear) else hidden.relu_()
