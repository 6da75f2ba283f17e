"""The update-to-weight ratio agrees with its definition."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import UpdateRatio, update_to_weight_ratio
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
    capture = Capture(network="net", parameters=before, updated=after, weights=frozenset({"a", "b"}))
    reading = UpdateRatio()(capture)
    wanted = oracle.update_ratio(
        [before[name].double().numpy() for name in "ab"], [after[name].double().numpy() for name in "ab"]
    )
    assert reading["network_update_to_weight_ratio"]["net"].item() == pytest.approx(wanted)
    assert reading.keys() == {definition.variable for definition in UpdateRatio().definitions}
    assert isinstance(UpdateRatio(), Probe)


def test_network_needs_all_its_weights() -> None:
    """Where one of the weights was not updated, the others do not stand for the network."""
    before = {"a": torch.ones(2, 2), "b": torch.ones(2, 2)}
    capture = Capture(network="n", parameters=before, updated={"a": torch.ones(2, 2)}, weights=frozenset({"a", "b"}))
    assert UpdateRatio()(capture).keys() == {"update_to_weight_ratio"}
    assert UpdateRatio()(Capture(network="n", parameters=before)) == {}
