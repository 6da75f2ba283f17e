"""Networks that are computed with and never learn."""

from __future__ import annotations

import pytest
import torch

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.published import ARCHITECTURES
from plastikit.train.twins import constant_twin, target_of


def make_network(architecture: str) -> TaskNetwork:
    """Two tasks, small."""
    return build_network(
        NetworkConfig(architecture=architecture, width=8, depth=2),
        task_count=2,
        feature_size=5,
        output_size=3,
        output_range=1.0,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_twins_compute_what_the_network_computes(architecture: str) -> None:
    """Outputs and gradients of the inputs are equal bit for bit, and the inputs are left as they were."""
    network = make_network(architecture)
    given = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    results = []
    for each in (network, target_of(network), constant_twin(network)):
        features = given.clone().requires_grad_()
        outputs = each(features)
        outputs.square().sum().backward()
        assert torch.equal(features.detach(), given)
        assert features.grad is not None
        results.append((outputs.detach(), features.grad))
    for outputs, gradient in results[1:]:
        assert torch.equal(outputs, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("make", [target_of, constant_twin])
def test_twins_ask_for_no_gradients(make: type) -> None:
    """A backward through a twin gives no weight a gradient, the network's neither."""
    network = make_network("multi_head")
    twin = make(network)
    twin(torch.randn(2, 6, 5).requires_grad_()).sum().backward()
    for parameter in twin.parameters():
        assert not parameter.requires_grad
    for parameter in network.parameters():
        assert parameter.requires_grad
        assert parameter.grad is None


def test_a_constant_twin_follows_its_network_and_a_target_does_not() -> None:
    """After an optimizer's step, and after other weights were loaded."""
    network = make_network("multi_head")
    twin, target, features = constant_twin(network), target_of(network), torch.randn(2, 6, 5)
    first = network(features).detach()
    network(features).sum().backward()
    torch.optim.Adam(network.parameters(), lr=0.1, fused=True).step()
    assert torch.equal(twin(features), network(features))
    assert not torch.equal(twin(features), first)
    assert torch.equal(target(features), first)
    network.load_state_dict(target.state_dict())
    assert torch.equal(twin(features), first)
