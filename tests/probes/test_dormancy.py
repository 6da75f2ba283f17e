"""Dormancy agrees with its definition, and with cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import dormancy as oracle
from plastikit.probes import (
    DormantFraction,
    dormant_fraction,
    group_dormant_intersection,
    group_dormant_union,
    unit_activation,
    unit_score,
)
from plastikit.watch.probe import Capture, Probe

TAUS = (0.0, 0.001, 0.025, 0.1)


def _relu_features(seed: int, samples: int, units: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** torch.linspace(-4, 1, units)
    features = torch.randn(samples, units, generator=generator).relu() * scale
    return features * (torch.rand(units, generator=generator) > 0.2)


@pytest.mark.parametrize("shape", [(64, 32), (7, 40), (1, 16), (50, 1), (1, 1)])
@pytest.mark.parametrize("tau", TAUS)
def test_agrees_with_the_oracle(shape: tuple[int, int], tau: float) -> None:
    """Every shape and threshold gives what counting unit by unit gives."""
    for seed in range(5):
        features = _relu_features(seed, *shape)
        value = dormant_fraction(features, tau).item()
        assert value == pytest.approx(oracle.dormant_fraction(features.double().numpy(), tau))


def test_unit_activation_agrees_with_the_oracle() -> None:
    """The scores behind the fraction are means of |activation|, negative ones counted by their size."""
    features = torch.randn(33, 17, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        unit_activation(features).double(), torch.tensor(oracle.unit_activation(features.numpy()), dtype=torch.float64)
    )
    assert unit_score(features).mean().item() == pytest.approx(1)


def test_known_answer() -> None:
    """One of four units fires a hundredth as much as the others: dormant at 0.1 and 0.025, awake at 0.001."""
    features = torch.tensor([[1.0, 1.0, 1.0, 0.01]])
    assert [dormant_fraction(features, tau).item() for tau in TAUS] == [0, 0, 0.25, 0.25]


def test_the_threshold_itself_is_dormant() -> None:
    """A unit whose score equals tau counts as dormant."""
    assert dormant_fraction(torch.tensor([[0.5, 1.5]]), tau=0.5).item() == 0.5


def test_blind_to_scale() -> None:
    """Shrinking every unit alike changes nothing."""
    features = _relu_features(3, 40, 30)
    for tau in TAUS:
        assert dormant_fraction(features, tau) == dormant_fraction(features * 2.0**-20, tau)


def test_silent_and_constant_layers() -> None:
    """A silent layer is wholly dormant at every threshold; a constant one is wholly awake."""
    assert dormant_fraction(torch.zeros(5, 4), 0.0).item() == 1
    assert dormant_fraction(torch.zeros(5, 4), 0.1).item() == 1
    assert dormant_fraction(torch.full((5, 4), -3.0), 0.1).item() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_nan(bad: float) -> None:
    """One activation that is not finite makes the layer's fraction unknown, at every threshold."""
    features = torch.ones(4, 3)
    features[2, 1] = bad
    assert all(math.isnan(dormant_fraction(features, tau).item()) for tau in TAUS)


def test_overflow_is_nan() -> None:
    """Finite activations whose mean overflows are unknown, not dormant."""
    assert math.isnan(dormant_fraction(torch.full((2, 8), 3e38), 0.1).item())


def test_no_samples_is_nan() -> None:
    """Without samples nothing is known."""
    assert math.isnan(dormant_fraction(torch.zeros(0, 3), 0.1).item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(dtype: torch.dtype) -> None:
    """70,000 halves of 1.0 have the mean 1, which a sum in half precision would miss."""
    features = torch.ones(70_000, 2, dtype=dtype)
    assert unit_activation(features).tolist() == [1.0, 1.0]
    assert unit_activation(features).dtype == torch.float32
    assert dormant_fraction(_relu_features(0, 30, 20).to(dtype), 0.025).item() == pytest.approx(
        oracle.dormant_fraction(_relu_features(0, 30, 20).to(dtype).double().numpy(), 0.025)
    )


def test_network_pools_by_units() -> None:
    """The network's fraction counts units, not layers; a layer of 9 weighs nine times one of 1."""
    capture = Capture(network="net", features={"a": torch.zeros(2, 1), "b": torch.ones(2, 9)})
    reading = DormantFraction()(capture)
    assert reading["network_dormant_fraction"]["net"].tolist() == pytest.approx([0.1] * 4)


def test_network_is_unknown_where_a_layer_is() -> None:
    """Where one layer could not be read, the others do not stand for the network."""
    capture = Capture(network="net", features={"a": torch.ones(2, 3)}, unreadable=frozenset({"b"}))
    assert "network_dormant_fraction" not in DormantFraction()(capture)


def test_groups_are_measured_apart() -> None:
    """A unit silent on one task alone is dormant on that task alone; a task without samples is NaN."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0]])
    capture = Capture(network="net", features={"a": features}, groups={"a": torch.tensor([0, 0, 2])})
    rows = DormantFraction(taus=(0.1,))(capture)["group_dormant_fraction"]["a"]
    torch.testing.assert_close(rows, torch.tensor([[0.5], [math.nan], [0.0]]), equal_nan=True)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_intersection_and_union_agree_with_the_oracle(tau: float, dtype: torch.dtype) -> None:
    """Sets of dormant units, one group at a time, give the same shares; a group without samples changes nothing."""
    features = _relu_features(2, 60, 40).to(dtype)
    groups = torch.tensor([0, 1, 3]).repeat(20)
    features[groups == 1, :10] = 0
    features[groups == 3, 5:20] = 0
    arguments = features.double().numpy(), groups.numpy(), tau
    intersection = group_dormant_intersection(features, groups, tau).item()
    union = group_dormant_union(features, groups, tau).item()
    assert intersection == pytest.approx(oracle.group_dormant_intersection(*arguments))
    assert union == pytest.approx(oracle.group_dormant_union(*arguments))
    capture = Capture(network="net", features={"a": features}, groups={"a": groups})
    reading = DormantFraction(taus=(tau,))(capture)
    assert reading["group_dormant_intersection"]["a"].tolist() == [intersection]
    assert reading["group_dormant_union"]["a"].tolist() == [union]
    rows = reading["group_dormant_fraction"]["a"]
    assert rows.shape == (4, 1)
    assert intersection <= rows[[0, 1, 3]].min() <= rows[[0, 1, 3]].max() <= union


def test_one_group_is_the_whole() -> None:
    """With one group, intersection, union and the fraction itself are one number."""
    features = _relu_features(1, 30, 20)
    groups = torch.zeros(30, dtype=torch.int64)
    assert group_dormant_intersection(features, groups, 0.1) == dormant_fraction(features, 0.1)
    assert group_dormant_union(features, groups, 0.1) == dormant_fraction(features, 0.1)


def test_a_spoiled_group_hides_what_is_common() -> None:
    """Where one group is unknown, so are intersection and union; the other groups are not."""
    features = torch.ones(4, 3)
    features[0, 0] = math.nan
    capture = Capture(network="net", features={"a": features}, groups={"a": torch.tensor([0, 0, 1, 1])})
    reading = DormantFraction(taus=(0.1,))(capture)
    assert math.isnan(reading["group_dormant_intersection"]["a"].item())
    assert math.isnan(reading["group_dormant_union"]["a"].item())
    assert reading["group_dormant_fraction"]["a"].flatten().tolist() == pytest.approx([math.nan, 0], nan_ok=True)


def test_no_samples_in_any_group() -> None:
    """Without samples nothing is known by group."""
    nothing = torch.zeros(0, 3)
    assert math.isnan(group_dormant_union(nothing, torch.zeros(0, dtype=torch.int64)).item())
    assert math.isnan(group_dormant_intersection(nothing, torch.zeros(0, dtype=torch.int64)).item())


@pytest.mark.parametrize("samples", [128, 1280, 4096])
def test_large_batches_are_summed_accurately(samples: int) -> None:
    """However the rows are added up, the mean is right to 1e-6, in the probe's way for ReLU as well."""
    features = torch.rand(samples, 300, generator=torch.Generator().manual_seed(0)) * 1e3
    exact = features.double().mean(dim=0).float()
    torch.testing.assert_close(unit_activation(features), exact, rtol=1e-6, atol=0)
    capture = Capture(network="net", features={"a": features}, functions={"a": "relu"})
    torch.testing.assert_close(DormantFraction()(capture)["unit_activation"]["a"], exact, rtol=1e-6, atol=0)


def test_layers_of_several_widths_and_precisions() -> None:
    """Layers that are measured together give what each gives alone."""
    features = {
        "a": _relu_features(0, 30, 20),
        "b": _relu_features(1, 30, 20),
        "c": _relu_features(2, 9, 20).double(),
        "d": _relu_features(3, 30, 7),
    }
    reading = DormantFraction(taus=(0.1,))(Capture(network="net", features=features))
    for layer, matrix in features.items():
        assert reading["dormant_fraction"][layer].item() == pytest.approx(dormant_fraction(matrix, 0.1).item())
    units = {layer: matrix.shape[1] for layer, matrix in features.items()}
    pooled = sum(reading["dormant_fraction"][layer].item() * units[layer] for layer in features) / sum(units.values())
    assert reading["network_dormant_fraction"]["net"].item() == pytest.approx(pooled)


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passports name what it gives."""
    probe = DormantFraction(taus=(0.5,))
    assert isinstance(probe, Probe)
    assert probe.axes == {"tau": (0.5,)}
    capture = Capture(network="n", features={"a": torch.ones(2, 2)}, groups={"a": torch.tensor([0, 1])})
    assert probe(capture).keys() == {definition.variable for definition in probe.definitions}
    assert probe(Capture(network="n")) == {}
