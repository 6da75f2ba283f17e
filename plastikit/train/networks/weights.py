"""First weights as published: hidden layers He-uniform with biases at 0, heads uniform within a narrow range.

All draw from the generator they are given, never from torch's global state. Without one nothing is drawn: for weights
that are loaded later, or that have shapes alone (``torch.device("meta")``).
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init


def hidden_linear(
    input_size: int, output_size: int, generator: torch.Generator | None, *, has_bias: bool = True
) -> nn.Linear:
    """Build a linear layer that starts He-uniform."""
    layer = _linear(input_size, output_size, has_bias=has_bias)
    if generator is not None:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        if has_bias:
            nn.init.zeros_(layer.bias)
    return layer


def narrow_linear(
    input_size: int, output_size: int, bound: float, generator: torch.Generator | None, *, has_zero_bias: bool = False
) -> nn.Linear:
    """Build a linear layer that starts uniform within plus and minus ``bound``."""
    layer = _linear(input_size, output_size)
    start_narrow(layer.weight, layer.bias, bound, generator)
    if has_zero_bias and generator is not None:
        nn.init.zeros_(layer.bias)
    return layer


def stacked(*shape: int) -> nn.Parameter:
    """Make room for the weights of several layers in one tensor."""
    return nn.Parameter(torch.empty(shape))


def start_hidden(weight: Tensor, bias: Tensor, generator: torch.Generator | None) -> None:
    """Start stacked layers, ``weight`` of shape [layer, input, output], as hidden ones."""
    if generator is not None:
        bound = math.sqrt(6.0 / weight.shape[-2])
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.zeros_(bias)


def start_narrow(weight: Tensor, bias: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Start weights and biases uniform within plus and minus ``bound``."""
    if generator is not None:
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.uniform_(bias, -bound, bound, generator=generator)


def _linear(input_size: int, output_size: int, *, has_bias: bool = True) -> nn.Linear:
    """Without torch's own start, which would draw from the global random state."""
    device = torch.get_default_device()
    # On the meta device nothing can be drawn, and skip_init would take ten times as long.
    make = nn.Linear if device.type == "meta" else partial(skip_init, nn.Linear)
    layer: nn.Linear = make(input_size, output_size, has_bias, device=device)
    return layer
