"""Networks that are computed with and never learn: targets, and the learning networks with their weights held constant.

Nobody watches them, so that their layers may be constant ones.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

from torch import Tensor, nn

from plastikit.train.constant_layers import ConstantLayers
from plastikit.train.networks.blueprint import TaskNetwork


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
            twin.set_submodule(path, ConstantLayers(OrderedDict(layers.named_children())))
    return twin
