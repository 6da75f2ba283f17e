"""Layers that are computed through and never learn."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from plastikit.train.constant_layers import ConstantLayers
from plastikit.train.networks.trunk import trunk

ROWS, FEATURES = 64, 5


def constant(layers: nn.Sequential) -> ConstantLayers:
    """The same layers, which learn nothing from now on."""
    return ConstantLayers(OrderedDict(layers.requires_grad_(requires_grad=False).named_children()))


def both_ways(layers: nn.Sequential, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs' gradients of the rows' weighted sum, through the layers as they are and as constants."""
    given = torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = []
    for each in (layers, constant(layers)):
        inputs = given.clone().requires_grad_()
        (each(inputs) * weights).sum().backward()
        assert inputs.grad is not None
        gradients.append(inputs.grad)
    return gradients[0], gradients[1]


def layers_of(kind: str) -> nn.Sequential:
    """Layers that end with a ReLU, or that begin with one and end with a linear layer."""
    generator = torch.Generator().manual_seed(0)
    if kind == "trunk":
        return trunk(FEATURES, 7, 3, generator).double()
    layers = trunk(FEATURES, 7, 2, generator).double()
    return nn.Sequential(nn.Linear(FEATURES, FEATURES).double(), nn.ReLU(), *layers, nn.Linear(7, 2).double())


@pytest.mark.parametrize("needed", [0, 1, ROWS // 2, ROWS])
@pytest.mark.parametrize("kind", ["trunk", "linear last"])
def test_gradients_are_those_of_all_rows(kind: str, needed: int) -> None:
    """Whether none of the rows counts, some, or all: rows that do not have a gradient of zero, the others their own."""
    weights = torch.zeros(ROWS, 1, dtype=torch.float64)
    weights[torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))[:needed]] = -1.5
    slow, fast = both_ways(layers_of(kind), weights)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=0.0)
    assert torch.equal(fast.any(dim=1), weights.any(dim=1) & slow.any(dim=1))


def test_what_is_no_number_is_not_lost() -> None:
    """A row whose gradient is NaN keeps it."""
    weights = torch.zeros(ROWS, 1, dtype=torch.float64)
    weights[3] = torch.nan
    slow, fast = both_ways(layers_of("trunk"), weights)
    assert slow[3].isnan().any()
    torch.testing.assert_close(fast, slow, equal_nan=True)


def test_backwards_can_be_repeated() -> None:
    """As whoever takes the gradients of several losses in turn does."""
    layers = constant(layers_of("trunk"))
    inputs = torch.randn(ROWS, FEATURES, dtype=torch.float64, requires_grad=True)
    losses = layers(inputs).view(2, -1).sum(dim=1)
    parts = [torch.autograd.grad(loss, inputs, retain_graph=True)[0] for loss in losses]
    torch.testing.assert_close(torch.autograd.grad(losses.sum(), inputs)[0], parts[0] + parts[1])


def test_weights_that_change_between_are_noticed() -> None:
    """As torch's own layers notice it."""
    layers = constant(layers_of("trunk"))
    outputs = layers(torch.randn(ROWS, FEATURES, dtype=torch.float64, requires_grad=True))
    layers.get_submodule("linear_2").weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@pytest.mark.parametrize(
    "layers",
    [[nn.Linear(2, 2), nn.Tanh()], [nn.ReLU(), nn.Linear(2, 2)], [nn.Linear(2, 2, bias=False)], []],
)
def test_other_layers_are_refused(layers: list[nn.Module]) -> None:
    """Nothing is computed as what it is not."""
    with pytest.raises(TypeError, match="are not constant layers"):
        constant(nn.Sequential(*layers))
    with pytest.raises(TypeError, match="are not constant layers"):
        ConstantLayers(OrderedDict(one=nn.Linear(2, 2)))
