"""The hidden layers that every architecture here shares."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import skip_init


def trunk(input_size: int, width: int, depth: int, generator: torch.Generator) -> nn.Sequential:
    """Build ``depth`` linear layers of ``width`` units with a ReLU after each: ``linear_1``, ``hidden_1``, ...

    Weights start He-uniform, biases at 0.
    """
    layers = nn.Sequential()
    for level in range(1, depth + 1):
        linear = linear_layer(input_size if level == 1 else width, width)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(linear.bias)
        layers.add_module(f"linear_{level}", linear)
        layers.add_module(f"hidden_{level}", nn.ReLU())
    return layers


def linear_layer(input_size: int, output_size: int) -> nn.Linear:
    """Build a linear layer without torch's own start, which would draw from the global random state."""
    layer: nn.Linear = skip_init(nn.Linear, input_size, output_size)
    return layer
