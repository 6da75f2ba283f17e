"""Gradient norms agree with their definitions; no gradient is not a gradient of zero."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import norms as oracle
from plastikit.probes import GradientNorm, gradient_max, gradient_norm, gradient_rms, gradient_zero_fraction
from plastikit.watch.probe import Capture, Probe


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """Every number of a gradient with exact zeros and signs of both kinds, in every precision."""
    gradient = torch.randn(9, 11, generator=torch.Generator().manual_seed(0)).clamp(max=0).to(dtype)
    exact = gradient.double().numpy()
    assert gradient_rms(gradient).item() == pytest.approx(oracle.rms(exact))
    assert gradient_max(gradient).item() == oracle.largest(exact)
    assert gradient_max(-gradient).item() == oracle.largest(exact)
    assert gradient_norm(gradient).item() == pytest.approx(oracle.frobenius(exact))
    assert gradient_zero_fraction(gradient).item() == pytest.approx(oracle.zero_fraction(exact))


def test_edges() -> None:
    """All zero, none zero, negative zero, not finite, empty."""
    assert gradient_zero_fraction(torch.zeros(3)).item() == 1
    assert gradient_zero_fraction(torch.tensor([-0.0, 1e-38])).item() == 0.5
    assert gradient_zero_fraction(torch.tensor([math.nan, 0.0])).item() == 0.5
    assert math.isnan(gradient_norm(torch.tensor([math.nan, 0.0])).item())
    assert gradient_max(torch.tensor([-math.inf, 0.0])).item() == math.inf
    assert math.isnan(gradient_max(torch.tensor([math.nan, 9.0])).item())
    for measure in (gradient_zero_fraction, gradient_rms, gradient_max):
        assert math.isnan(measure(torch.zeros(0)).item())


def test_network_weighs_by_entries() -> None:
    """The network's zero fraction counts entries, and a parameter without a gradient counts for nothing."""
    capture = Capture(
        network="net",
        gradients={"a": torch.zeros(9), "b": torch.tensor([4.0]), "frozen": None, "c": torch.tensor([3.0])},
    )
    reading = GradientNorm()(capture)
    assert reading["network_gradient_zero_fraction"]["net"].item() == pytest.approx(9 / 11)
    assert reading["network_gradient_norm"]["net"].item() == pytest.approx(5)
    assert reading["network_gradient_max"]["net"].item() == 4
    assert reading["network_gradient_rms"]["net"].item() == pytest.approx(5 / math.sqrt(11))
    assert "frozen" not in reading["gradient_norm"]
    assert reading.keys() == {definition.variable for definition in GradientNorm().definitions}


def test_no_gradients_give_no_reading() -> None:
    """Where there is no gradient at all, nothing is read, rather than 0."""
    assert GradientNorm()(Capture(network="n", gradients={"a": None})) == {}
    assert isinstance(GradientNorm(), Probe)


def test_network_needs_to_know_of_all_its_weights() -> None:
    """Where the gradient of one weight is not known, the others do not stand for the network."""
    capture = Capture(network="n", gradients={"a": torch.ones(2)}, weights=frozenset({"a", "b"}))
    wanted = {"gradient_norm", "gradient_rms", "gradient_max", "gradient_zero_fraction"}
    assert GradientNorm()(capture).keys() == wanted


def test_sparse_gradients_count_what_they_leave_out() -> None:
    """The gradient of an embedding with sparse=True gives what the filled-in one gives, repeated rows added up."""
    table = torch.nn.Embedding(7, 3, sparse=True)
    table(torch.tensor([1, 1, 4])).square().sum().backward()
    sparse = table.weight.grad
    assert sparse is not None
    assert sparse.is_sparse
    assert not sparse.is_coalesced()
    dense = Capture(network="n", gradients={"w": sparse.to_dense(), "b": torch.ones(2)})
    wanted, found = (
        GradientNorm()(dense),
        GradientNorm()(Capture(network="n", gradients={"w": sparse, "b": torch.ones(2)})),
    )
    for variable, row in wanted.items():
        assert {name: value.item() for name, value in found[variable].items()} == {
            name: pytest.approx(value.item(), rel=1e-6) for name, value in row.items()
        }
    assert found["gradient_zero_fraction"]["w"].item() == pytest.approx(5 / 7)
    empty = torch.sparse_coo_tensor(
        torch.zeros(1, 0, dtype=torch.int64), torch.zeros(0, 3), (7, 3), check_invariants=True
    )
    assert gradient_max(empty).item() == 0
    assert gradient_zero_fraction(empty).item() == 1
    assert not sparse.is_coalesced()


def test_mixed_and_empty_parameters() -> None:
    """Parameters of several precisions, complex ones and ones without entries lie side by side."""
    gradients = {
        "half": torch.full((100,), 300.0, dtype=torch.float16),
        "double": torch.full((4,), -2.0, dtype=torch.float64),
        "complex": torch.tensor([3 + 4j, 0j]),
        "empty": torch.zeros(0, 5),
    }
    reading = GradientNorm()(Capture(network="n", gradients=gradients, weights=frozenset(gradients)))
    norm = {name: value.item() for name, value in reading["gradient_norm"].items()}
    assert norm == {"half": pytest.approx(3000), "double": pytest.approx(4), "complex": pytest.approx(5)}
    assert reading["gradient_max"]["complex"].item() == pytest.approx(5)
    assert reading["gradient_zero_fraction"]["complex"].item() == 0.5
    assert reading["network_gradient_norm"]["n"].item() == pytest.approx(math.sqrt(3000**2 + 4**2 + 5**2))
    assert reading["network_gradient_rms"]["n"].item() == pytest.approx(math.sqrt((3000**2 + 4**2 + 5**2) / 106))
    assert reading["network_gradient_max"]["n"].item() == 300


def test_a_network_without_entries_gives_no_reading() -> None:
    """Where nothing has entries, nothing is read."""
    assert GradientNorm()(Capture(network="n", gradients={"a": torch.zeros(0)})) == {}
