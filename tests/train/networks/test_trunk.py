"""The hidden layers that every architecture shares."""

from __future__ import annotations

import torch
from torch import nn

from plastikit.train.networks.trunk import trunk


def test_layers_are_named_for_plots_and_write_over_nothing() -> None:
    """Each linear layer is followed by a ReLU module of its own that keeps its input."""
    layers = dict(trunk(3, 5, 2, torch.Generator()).named_children())
    assert list(layers) == ["linear_1", "hidden_1", "linear_2", "hidden_2"]
    for level in (1, 2):
        activation = layers[f"hidden_{level}"]
        assert isinstance(activation, nn.ReLU)
        assert not activation.inplace
