"""Gradient norms agree with their definitions; no gradient is not a gradient of zero."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import GradientNorm, gradient_norm, gradient_zero_fraction
from plastikit.watch.probe import Capture, Probe


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """Norm and zero fraction of a gradient with exact zeros, in every precision."""
    gradient = torch.randn(9, 11, generator=torch.Generator().manual_seed(0)).relu().to(dtype)
    exact = gradient.double().numpy()
    assert gradient_norm(gradient).item() == pytest.approx(oracle.frobenius(exact))
    assert gradient_zero_fraction(gradient).item() == pytest.approx(oracle.zero_fraction(exact))


def test_edges() -> None:
    """All zero, none zero, negative zero, not finite, empty."""
    assert gradient_zero_fraction(torch.zeros(3)).item() == 1
    assert gradient_zero_fraction(torch.tensor([-0.0, 1e-38])).item() == 0.5
    assert gradient_zero_fraction(torch.tensor([math.nan, 0.0])).item() == 0.5
    assert math.isnan(gradient_norm(torch.tensor([math.nan, 0.0])).item())
    assert math.isnan(gradient_zero_fraction(torch.zeros(0)).item())


def test_network_weighs_by_entries() -> None:
    """The network's zero fraction counts entries, and a parameter without a gradient counts for nothing."""
    capture = Capture(
        network="net",
        gradients={"a": torch.zeros(9), "b": torch.tensor([4.0]), "frozen": None, "c": torch.tensor([3.0])},
    )
    reading = GradientNorm()(capture)
    assert reading["network_gradient_zero_fraction"]["net"].item() == pytest.approx(9 / 11)
    assert reading["network_gradient_norm"]["net"].item() == pytest.approx(5)
    assert "frozen" not in reading["gradient_norm"]
    assert reading.keys() == {definition.variable for definition in GradientNorm().definitions}


def test_no_gradients_give_no_reading() -> None:
    """Where there is no gradient at all, nothing is read, rather than 0."""
    assert GradientNorm()(Capture(network="n", gradients={"a": None})) == {}
    assert isinstance(GradientNorm(), Probe)


def test_network_needs_to_know_of_all_its_weights() -> None:
    """Where the gradient of one weight is not known, the others do not stand for the network."""
    capture = Capture(network="n", gradients={"a": torch.ones(2)}, weights=frozenset({"a", "b"}))
    assert GradientNorm()(capture).keys() == {"gradient_norm", "gradient_zero_fraction"}
