"""Weight norms agree with their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import WeightNorm, distance_from_init, weight_norm, weight_rms
from plastikit.watch.probe import Capture, Probe


@pytest.mark.parametrize("shape", [(5, 7), (3, 2, 4), (6,), ()])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Every shape and precision gives what summing entry by entry gives."""
    generator = torch.Generator().manual_seed(0)
    here = torch.randn(shape, generator=generator).to(dtype)
    there = torch.randn(shape, generator=generator).to(dtype)
    exact = here.double().numpy()
    assert weight_norm(here).item() == pytest.approx(oracle.frobenius(exact))
    assert weight_rms(here).item() == pytest.approx(oracle.rms(exact))
    assert distance_from_init(here, there).item() == pytest.approx(oracle.distance([exact], [there.double().numpy()]))


def test_half_precision_does_not_overflow() -> None:
    """The squares of 300 leave half precision; their norm does not."""
    weight = torch.full((100,), 300.0, dtype=torch.float16)
    assert weight_norm(weight).item() == 3000
    assert distance_from_init(weight, torch.full_like(weight, -300.0)).item() == 6000


def test_not_finite_is_not_hidden() -> None:
    """A weight that is not finite gives a norm that is not."""
    assert math.isnan(weight_norm(torch.tensor([1.0, math.nan])).item())
    assert math.isinf(weight_norm(torch.tensor([1.0, math.inf])).item())
    assert math.isnan(weight_rms(torch.zeros(0)).item())


def test_network_leaves_biases_out() -> None:
    """The network's values join its weights as one vector, without biases and gains."""
    parameters = {"a.weight": torch.full((2, 2), 3.0), "a.bias": torch.full((2,), 100.0), "b.weight": torch.ones(1, 5)}
    capture = Capture(
        network="net",
        parameters=parameters,
        initial={name: torch.zeros_like(value) for name, value in parameters.items()},
        weights=frozenset({"a.weight", "b.weight"}),
    )
    reading = WeightNorm()(capture)
    exact = [parameters[name].double().numpy() for name in ("a.weight", "b.weight")]
    assert reading["network_weight_norm"]["net"].item() == pytest.approx(oracle.frobenius(*exact))
    assert reading["network_weight_rms"]["net"].item() == pytest.approx(oracle.rms(*exact))
    assert reading["network_distance_from_init"]["net"].item() == pytest.approx(oracle.frobenius(*exact))
    assert reading["weight_norm"].keys() == parameters.keys()
    assert reading.keys() == {definition.variable for definition in WeightNorm().definitions}


def test_without_initial_values_there_is_no_distance() -> None:
    """One look at a model knows no beginning, and gives no distance from it."""
    reading = WeightNorm()(Capture(network="n", parameters={"w": torch.ones(2, 2)}, weights=frozenset({"w"})))
    assert not reading["distance_from_init"]
    assert "network_distance_from_init" not in reading
    assert isinstance(WeightNorm(), Probe)
