"""Gradient dormancy agrees with its definition, and with cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from oracles import grama as oracle
from plastikit.probes import GradientDormancy, grama_dormant_fraction, unit_gradient
from plastikit.watch.probe import Capture, Needs, Probe


def _gradients(seed: int, samples: int, units: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(samples, units, generator=generator) * 10 ** torch.linspace(-3, 0, units)
    return (drawn * (torch.rand(units, generator=generator) > 0.2)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 32), (7, 40), (1, 16), (50, 1), (1, 1), (336, 400)])
def test_agrees_with_the_oracle(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Every shape and precision gives what counting unit by unit gives."""
    gradients = _gradients(0, *shape, dtype)
    exact = gradients.double().numpy()
    assert unit_gradient(gradients).tolist() == pytest.approx(oracle.unit_gradient(exact), rel=1e-5)
    for tau in (0.0, 0.01, 0.1):
        assert grama_dormant_fraction(gradients, tau).item() == pytest.approx(oracle.dormant_fraction(exact, tau))


def test_opposite_pulls_do_not_cancel() -> None:
    """The size is taken before the mean: a unit pulled up and down alike is not dormant."""
    gradients = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert unit_gradient(gradients).tolist() == [1, 0]
    assert grama_dormant_fraction(gradients).item() == 0.5


def test_a_loss_that_is_a_mean_scales_the_scores_and_not_the_fraction() -> None:
    """Dividing the loss by the batch size divides each unit's gradient, and leaves the share as it is."""
    gradients = _gradients(1, 40, 30)
    torch.testing.assert_close(unit_gradient(gradients / 40), unit_gradient(gradients) / 40)
    assert grama_dormant_fraction(gradients) == grama_dormant_fraction(gradients / 64)


def test_before_and_after_a_relu_differ_by_the_gate() -> None:
    """A closed ReLU has a gradient at its output and none at its input."""
    torch.manual_seed(0)
    inputs = torch.randn(16, 6, requires_grad=True)
    shifted = inputs - torch.tensor([0.0, 0.0, 0.0, 9.0, 9.0, 9.0])
    shifted.retain_grad()
    features = shifted.relu()
    features.retain_grad()
    nn.Linear(6, 1)(features).pow(2).mean().backward()
    assert features.grad is not None
    assert shifted.grad is not None
    capture = Capture(network="n", feature_gradients={"a": features.grad}, pre_gradients={"a": shifted.grad})
    at_output = GradientDormancy()(capture)["grama_dormant_fraction"]["a"].item()
    at_input = GradientDormancy(at="pre_activation")(capture)["grama_dormant_fraction"]["a"].item()
    assert (at_output, at_input) == (0, 0.5)


def test_what_is_needed_follows_the_side() -> None:
    """Only the gradients of the side that is asked for are captured, and the passports say which."""
    assert GradientDormancy().needs == Needs.FEATURE_GRADIENTS
    probe = GradientDormancy(tau=0.1, at="pre_activation")
    assert probe.needs == Needs.PRE_GRADIENTS
    assert probe.definitions[0].parameters == {"at": "pre_activation"}
    assert probe.definitions[1].parameters == {"tau": 0.1, "at": "pre_activation"}


def test_no_gradient_at_all() -> None:
    """A layer that the loss does not pull at is wholly dormant; without samples nothing is known."""
    assert grama_dormant_fraction(torch.zeros(4, 3)).item() == 1
    assert math.isnan(grama_dormant_fraction(torch.zeros(0, 3)).item())
    assert grama_dormant_fraction(torch.full((4, 3), -2.0)).item() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_is_nan(bad: float) -> None:
    """One gradient that is not finite makes the layer's share unknown; other units keep their score."""
    gradients = torch.ones(4, 3)
    gradients[1, 2] = bad
    assert math.isnan(grama_dormant_fraction(gradients).item())
    assert unit_gradient(gradients)[:2].tolist() == [1, 1]


def test_the_network_pools_by_units() -> None:
    """The network's share counts units over all layers, and needs all of them."""
    gradients = {"a": torch.zeros(2, 1), "b": torch.ones(2, 9)}
    capture = Capture(network="n", feature_gradients=gradients)
    assert GradientDormancy()(capture)["network_grama_dormant_fraction"]["n"].item() == pytest.approx(0.1)
    features = {"a": torch.zeros(2, 1), "b": torch.ones(2, 9), "unreached": torch.ones(2, 3)}
    missing = Capture(network="n", features=features, feature_gradients=gradients)
    unreadable = Capture(network="n", feature_gradients=gradients, unreadable=frozenset({"c"}))
    for partial in (missing, unreadable):
        assert "network_grama_dormant_fraction" not in GradientDormancy()(partial)


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passports name what it gives."""
    probe = GradientDormancy()
    assert isinstance(probe, Probe)
    capture = Capture(network="n", feature_gradients={"a": torch.ones(2, 2)})
    assert probe(capture).keys() == {definition.variable for definition in probe.definitions}
    assert probe(Capture(network="n")) == {}
