"""What is computed in float32 inside autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.networks.full_precision import in_float32
from plastikit.train.published import ARCHITECTURES

VALUE = 600.0
"""In bfloat16 numbers of this size lie 4 apart."""


def make_critic(architecture: str) -> TaskNetwork:
    """A network whose values are large and lie close together."""
    network = build_network(
        NetworkConfig(architecture=architecture, width=16, depth=2),
        task_count=3,
        feature_size=5,
        output_size=1,
        output_range=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        head_of(network).bias.fill_(VALUE)
    return network


def head_of(network: TaskNetwork) -> Any:
    """Its last layer."""
    return network.get_submodule("heads" if hasattr(network, "heads") else "head")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_are_not_rounded_to_what_autocast_computes_in(architecture: str) -> None:
    """The last layer is computed in float32 from what the bfloat16 layers before it give, and learns in float32."""
    network, given = make_critic(architecture), list[Tensor]()
    head_of(network).register_forward_hook(lambda _, operands, __: given.extend(operands))
    hidden_precisions = set()
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module is not head_of(network):
            module.register_forward_hook(lambda _, __, output: hidden_precisions.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        values = network(torch.randn(3, 64, 5, generator=torch.Generator().manual_seed(1)))
    assert hidden_precisions <= {torch.bfloat16}
    assert values.dtype == torch.float32
    assert len(values.unique()) > 150
    values.sum().backward()
    assert {parameter.grad.dtype for parameter in network.parameters() if parameter.grad is not None} == {torch.float32}
    exact = head_of(network).double()(*(operand.double() for operand in given)).view_as(values)
    torch.testing.assert_close(values.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_compiled_in_one_graph(architecture: str) -> None:
    """Inside autocast and outside it."""
    network, features = make_critic(architecture), torch.randn(3, 8, 5)
    run = torch.compile(network, fullgraph=True, dynamic=False, backend="aot_eager")
    for is_on in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=is_on):
            torch.testing.assert_close(run(features), network(features), rtol=1e-6, atol=1e-6)


def test_without_autocast_it_is_a_call() -> None:
    """Operands arrive as they are, in their own precision; also on a device that knows no autocast."""
    for device in ("cpu", "meta"):
        given = (torch.ones(2, device=device), torch.ones(2, dtype=torch.float64, device=device))
        arrived = in_float32(lambda *operands: operands, *given)
        assert all(one is other for one, other in zip(arrived, given, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        product = in_float32(torch.mm, torch.ones(1, 1, dtype=torch.bfloat16), torch.full((1, 1), 601.0))
        assert product.item() == 601.0
        assert torch.is_autocast_enabled("cpu")
