"""The hidden layers that most architectures share."""

from __future__ import annotations

import torch
from torch import nn

from plastikit.train.networks.weights import hidden_linear


def trunk(input_size: int, width: int, depth: int, generator: torch.Generator | None) -> nn.Sequential:
    """Build ``depth`` linear layers of ``width`` units with a ReLU after each: ``linear_1``, ``hidden_1``, ..."""
    layers = nn.Sequential()
    for level in range(1, depth + 1):
        layers.add_module(f"linear_{level}", hidden_linear(input_size if level == 1 else width, width, generator))
        layers.add_module(f"hidden_{level}", nn.ReLU())
    return layers
