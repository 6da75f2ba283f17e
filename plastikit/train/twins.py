"""Networks that are computed with and never learn: targets, and the learning networks with their weights held constant.

Nobody watches them, so that their activations may be written over as soon as they are used.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plastikit.train.networks.blueprint import TaskNetwork


class OverwrittenLayers(nn.Sequential):
    """Linear layers and ReLUs, each of which writes over what the one before put out."""

    def forward(self, hidden: Float[Tensor, "row unit"]) -> Float[Tensor, "row unit"]:
        """Give what the last layer puts out; the input itself is left alone."""
        for layer in self:
            # A bias that is added to a finished product costs less than one that the product starts from.
            hidden = (
                torch.mm(hidden, layer.weight.T).add_(layer.bias) if isinstance(layer, nn.Linear) else hidden.relu_()
            )
        return hidden


def target_of(network: TaskNetwork) -> TaskNetwork:
    """Copy a network, with weights of its own that start as the network's are and need no gradients."""
    return _twin(network, {id(each): _constant(each.detach().clone()) for each in network.parameters()})


def constant_twin(network: TaskNetwork) -> TaskNetwork:
    """Give the same network as constants: it shares the weights, wherever they go, and asks for no gradients of them.

    Gradients pass through it to its inputs. The weights must go on to lie where they lie, as optimizers leave them.
    """
    return _twin(network, {id(each): _constant(each.detach()) for each in network.parameters()})


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _twin(network: TaskNetwork, weights: dict[int, nn.Parameter]) -> TaskNetwork:
    twin = copy.deepcopy(network, weights)
    for path, layers in list(twin.named_modules()):
        if isinstance(layers, nn.Sequential):
            twin.set_submodule(path, OverwrittenLayers(OrderedDict(layers.named_children())))
    return twin
