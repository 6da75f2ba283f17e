"""Ranks agree with a full decomposition, and with cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import rank as oracle
from plastikit.probes import FeatureRank, effective_rank, singular_values, srank
from plastikit.watch.probe import Capture, Probe


def _decaying(seed: int, samples: int, units: int, decay: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = min(samples, units)
    left = torch.linalg.qr(torch.randn(samples, size, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(units, size, generator=generator, dtype=torch.float64))[0]
    product: torch.Tensor = (left * decay ** torch.arange(size)) @ right.T
    return product


@pytest.mark.parametrize("shape", [(64, 20), (9, 31), (1, 8), (8, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Fewer samples than units, more, one of either, in every precision."""
    for seed in range(3):
        features = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu().to(dtype)
        exact = features.double().numpy()
        assert srank(features).item() == oracle.srank(exact)
        assert effective_rank(features).item() == pytest.approx(oracle.effective_rank(exact), rel=1e-7)


@pytest.mark.parametrize("decay", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
def test_agrees_on_decaying_spectra(decay: float, delta: float) -> None:
    """Spectra that fall steeply, where the Gram matrix loses the small values, give the same ranks."""
    features = _decaying(0, 60, 25, decay)
    assert srank(features, delta).item() == oracle.srank(features.numpy(), delta)
    assert effective_rank(features).item() == pytest.approx(oracle.effective_rank(features.numpy()), rel=1e-6)


def test_singular_values_agree() -> None:
    """The Gram matrix gives the singular values of the features, largest first."""
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(singular_values(features).tolist(), oracle.singular_values(features.numpy()))


def test_known_answers() -> None:
    """Orthogonal features of one size have full rank, copies of one feature have rank 1."""
    assert effective_rank(torch.eye(6)).item() == pytest.approx(6)
    assert srank(torch.eye(6)).item() == 6
    copies = torch.arange(1.0, 9).unsqueeze(1).repeat(1, 5)
    assert srank(copies).item() == 1
    assert effective_rank(copies).item() == pytest.approx(1, abs=1e-5)


def test_srank_sums_singular_values_not_their_squares() -> None:
    """Spectrum 10, 1: squares would hold 99 % in the first; the values themselves need both."""
    features = torch.diag(torch.tensor([10.0, 1.0]))
    assert srank(features, 0.01).item() == 2
    assert srank(features, 0.1).item() == 1


def test_silent_features_have_rank_zero() -> None:
    """All features 0 is rank 0, not NaN."""
    assert srank(torch.zeros(5, 3)).item() == 0
    assert effective_rank(torch.zeros(5, 3)).item() == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_not_finite_is_nan(bad: float) -> None:
    """A feature that is not finite gives NaN, and raises nothing."""
    features = torch.ones(4, 3)
    features[0, 0] = bad
    assert math.isnan(srank(features).item())
    assert math.isnan(effective_rank(features).item())


def test_huge_features_do_not_overflow() -> None:
    """Features near the end of float32 square within float64."""
    assert srank(torch.eye(3) * 1e38).item() == 3


def test_ceiling_is_the_smaller_side() -> None:
    """Beside the ranks stands what they cannot exceed."""
    reading = FeatureRank()(Capture(network="n", features={"wide": torch.ones(4, 9), "tall": torch.ones(9, 4)}))
    assert {layer: value.item() for layer, value in reading["rank_ceiling"].items()} == {"wide": 4, "tall": 4}


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passport carries delta."""
    probe = FeatureRank(delta=0.2)
    assert isinstance(probe, Probe)
    reading = probe(Capture(network="n", features={"a": torch.eye(5)}))
    assert reading.keys() == {definition.variable for definition in probe.definitions}
    assert reading["srank"]["a"].item() == 4
    assert probe.definitions[0].parameters == {"delta": 0.2, "centred": False}
