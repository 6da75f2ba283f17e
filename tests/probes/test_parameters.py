"""Weight norms agree with their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import (
    WeightNorm,
    distance_from_init,
    relative_distance_from_init,
    weight_mean_absolute,
    weight_norm,
    weight_rms,
)
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
    assert weight_mean_absolute(here).item() == pytest.approx(oracle.mean_absolute(exact))
    way = oracle.distance([exact], [there.double().numpy()])
    assert distance_from_init(here, there).item() == pytest.approx(way)
    relative = relative_distance_from_init(here, there).item()
    assert relative == pytest.approx(way / oracle.frobenius(there.double().numpy()))


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
    assert math.isnan(weight_mean_absolute(torch.zeros(0)).item())
    assert math.isnan(weight_mean_absolute(torch.tensor([1.0, math.nan])).item())


def test_a_beginning_of_zeros_has_no_relative_distance() -> None:
    """A fresh bias of zeros has a distance, and no norm to hold it against."""
    assert math.isnan(relative_distance_from_init(torch.ones(3), torch.zeros(3)).item())
    assert relative_distance_from_init(torch.ones(3), torch.ones(3)).item() == 0


def test_network_leaves_biases_out() -> None:
    """The network's values join its weights as one vector, without biases and gains."""
    parameters = {"a.weight": torch.full((2, 2), 3.0), "a.bias": torch.full((2,), 100.0), "b.weight": torch.ones(1, 5)}
    capture = Capture(
        network="net",
        parameters=parameters,
        initial={name: torch.full_like(value, 0.5) for name, value in parameters.items()},
        weights=frozenset({"a.weight", "b.weight"}),
    )
    reading = WeightNorm()(capture)
    exact = [parameters[name].double().numpy() for name in ("a.weight", "b.weight")]
    assert reading["network_weight_norm"]["net"].item() == pytest.approx(oracle.frobenius(*exact))
    assert reading["network_weight_rms"]["net"].item() == pytest.approx(oracle.rms(*exact))
    assert reading["network_weight_mean_absolute"]["net"].item() == pytest.approx(oracle.mean_absolute(*exact))
    start = [np.full(array.shape, 0.5) for array in exact]
    way = oracle.distance(exact, start)
    assert reading["network_distance_from_init"]["net"].item() == pytest.approx(way)
    relative = reading["network_relative_distance_from_init"]["net"].item()
    assert relative == pytest.approx(way / oracle.frobenius(*start))
    assert reading["weight_norm"].keys() == parameters.keys()
    assert reading.keys() == {definition.variable for definition in WeightNorm().definitions}


def test_without_initial_values_there_is_no_distance() -> None:
    """One look at a model knows no beginning, and gives no distance from it."""
    reading = WeightNorm()(Capture(network="n", parameters={"w": torch.ones(2, 2)}, weights=frozenset({"w"})))
    assert not [variable for variable in reading if "distance" in variable]
    assert isinstance(WeightNorm(), Probe)


def test_mixed_and_empty_parameters() -> None:
    """Parameters of several precisions, complex ones and ones without entries lie side by side."""
    parameters = {
        "bias": torch.ones(3),
        "half": torch.full((2, 50), 300.0, dtype=torch.bfloat16),
        "double": torch.full((2, 2), -2.0, dtype=torch.float64),
        "complex": torch.tensor([[3 + 4j, 0j]]),
        "empty": torch.zeros(0, 5),
    }
    initial = {name: torch.zeros_like(value) for name, value in parameters.items()}
    weights = frozenset(parameters) - {"bias"}
    reading = WeightNorm()(Capture(network="n", parameters=parameters, initial=initial, weights=weights))
    norm = {name: value.item() for name, value in reading["weight_norm"].items()}
    assert norm == {
        "bias": pytest.approx(math.sqrt(3)),
        "half": pytest.approx(3000),
        "double": pytest.approx(4),
        "complex": pytest.approx(5),
    }
    assert {name: value.item() for name, value in reading["distance_from_init"].items()} == norm
    assert reading["weight_mean_absolute"]["complex"].item() == pytest.approx(2.5)
    whole = math.sqrt(3000**2 + 4**2 + 5**2)
    assert reading["network_weight_norm"]["n"].item() == pytest.approx(whole)
    assert reading["network_distance_from_init"]["n"].item() == pytest.approx(whole)
    assert reading["network_weight_mean_absolute"]["n"].item() == pytest.approx((30000 + 8 + 5) / 106)


def test_network_needs_all_its_weights() -> None:
    """Where the beginning of one weight is not known, the others do not stand for the network's way."""
    parameters = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
    capture = Capture(network="n", parameters=parameters, initial={"b": torch.ones(2, 2)}, weights=frozenset("ab"))
    reading = WeightNorm()(capture)
    assert "network_weight_norm" in reading
    assert "network_distance_from_init" not in reading
    assert reading["distance_from_init"].keys() == {"b"}
    assert WeightNorm()(Capture(network="n", weights=frozenset("ab"))) == {}
