"""The update-to-weight ratio agrees with its definition."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import UpdateRatio, effective_learning_rate, update_to_weight_ratio
from plastikit.watch.probe import Capture, Probe


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """The change between the stored values, in every precision."""
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(6, 5, generator=generator).to(dtype)
    after = (before + 0.1 * torch.randn(6, 5, generator=generator)).to(dtype)
    wanted = oracle.update_ratio([before.double().numpy()], [after.double().numpy()])
    assert update_to_weight_ratio(before, after).item() == pytest.approx(wanted, rel=1e-5)


def test_a_parameter_of_zeros_is_nan() -> None:
    """A fresh bias of zeros has no ratio; an update that moves nothing has the ratio 0."""
    assert math.isnan(update_to_weight_ratio(torch.zeros(3), torch.ones(3)).item())
    assert update_to_weight_ratio(torch.ones(3), torch.ones(3)).item() == 0


def test_network_joins_its_weights() -> None:
    """The network's ratio is of one vector of all weights, biases left out."""
    before = {"a": torch.full((2, 2), 2.0), "bias": torch.ones(2), "b": torch.full((1, 3), 1.0)}
    after = {"a": torch.full((2, 2), 2.5), "bias": torch.full((2,), 9.0), "b": torch.full((1, 3), 0.0)}
    capture = Capture(
        network="net",
        parameters=before,
        updated=after,
        weights=frozenset({"a", "b"}),
        settings={"a": {"lr": 0.5}, "bias": {"lr": 0.1}},
    )
    reading = UpdateRatio()(capture)
    wanted = oracle.update_ratio(
        [before[name].double().numpy() for name in "ab"], [after[name].double().numpy() for name in "ab"]
    )
    assert reading["network_update_to_weight_ratio"]["net"].item() == pytest.approx(wanted)
    assert {name: value.item() for name, value in reading["effective_learning_rate"].items()} == {"a": 0.5 / 16}
    assert reading.keys() == {definition.variable for definition in UpdateRatio().definitions}
    assert isinstance(UpdateRatio(), Probe)


def test_network_needs_all_its_weights() -> None:
    """Where one of the weights was not updated, the others do not stand for the network."""
    before = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
    capture = Capture(network="n", parameters=before, updated={"a": torch.ones(2, 2)}, weights=frozenset({"a", "b"}))
    assert UpdateRatio()(capture).keys() == {"update_to_weight_ratio"}
    assert UpdateRatio()(Capture(network="n", parameters=before)) == {}


def test_effective_learning_rate_is_over_the_squared_norm() -> None:
    """The rate over the squared norm, in half precision as well; NaN for a weight of zeros."""
    assert effective_learning_rate(torch.full((100,), 300.0, dtype=torch.float16), 0.1).item() == pytest.approx(
        0.1 / 9e6
    )
    assert effective_learning_rate(torch.tensor([3.0, 4.0]), torch.tensor(0.5)).item() == pytest.approx(0.02)
    assert math.isnan(effective_learning_rate(torch.zeros(3), 0.1).item())


def test_each_weight_has_its_own_rate() -> None:
    """Groups of parameters have rates of their own, numbers and tensors; parameters of no optimizer have none."""
    before = {"a": torch.ones(2, 2), "b": torch.ones(1, 2), "c": torch.ones(3, 1)}
    capture = Capture(
        network="n",
        parameters=before,
        updated=before,
        weights=frozenset(before),
        settings={"c": {"lr": torch.tensor(0.3, dtype=torch.float64)}, "a": {"lr": 1e-3}},
    )
    found = UpdateRatio()(capture)["effective_learning_rate"]
    assert {name: value.item() for name, value in found.items()} == {
        "a": pytest.approx(1e-3 / 4),
        "c": pytest.approx(0.3 / 3),
    }


def test_half_precision_changes_are_not_rounded_again() -> None:
    """The change is taken between the stored values in single precision; mixed and empty parameters do not disturb."""
    before = {"h": torch.full((4,), 60000.0, dtype=torch.float16), "d": torch.ones(2, dtype=torch.float64)}
    after = {"h": torch.full((4,), -60000.0, dtype=torch.float16), "d": torch.full((2,), 1.5, dtype=torch.float64)}
    empty = torch.zeros(0, 2)
    capture = Capture(network="n", parameters=before | {"e": empty}, updated=after | {"e": empty})
    found = UpdateRatio()(capture)["update_to_weight_ratio"]
    assert {name: value.item() for name, value in found.items()} == {"h": 2, "d": 0.5}
