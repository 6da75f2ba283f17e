"""Ranks agree with a full decomposition, and with cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import rank as oracle
from plastikit.probes import (
    FeatureRank,
    effective_rank,
    feature_rank,
    numerical_rank,
    participation_ratio,
    pca_rank,
    singular_values,
    srank,
    stable_rank,
)
from plastikit.watch.probe import Capture, Probe

RANKS = [srank, effective_rank, feature_rank, pca_rank, stable_rank, numerical_rank, participation_ratio]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


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


@pytest.mark.parametrize("shape", [(64, 20), (9, 31), (1, 8), (8, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_rank_agrees_with_the_oracle(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Function and probe give what the definitions give over NumPy's decompositions."""
    for seed in range(3):
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5
        features = drawn.relu().to(dtype)
        exact = features.double().numpy()
        expected = {
            "srank": oracle.srank(exact),
            "effective_rank": oracle.effective_rank(exact),
            "feature_rank": oracle.feature_rank(exact),
            "pca_rank": oracle.pca_rank(exact),
            "stable_rank": oracle.stable_rank(exact),
            "participation_ratio": oracle.participation_ratio(exact),
        }
        reading = FeatureRank()(Capture(network="n", features={"a": features, "other": torch.ones(40, 50)}))
        measured = {name: reading[name]["a"].item() for name in expected}
        assert measured == pytest.approx(expected, rel=1e-7)
        assert [rank(features).item() for rank in RANKS] == pytest.approx(
            [reading[rank.__name__]["a"].item() for rank in RANKS]
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (300, 40), (4, 4)])
@pytest.mark.parametrize("rank", [1, 3])
def test_numerical_rank_is_that_of_torch(shape: tuple[int, int], rank: int, dtype: torch.dtype) -> None:
    """Low-rank and full features have the rank that ``torch.linalg.matrix_rank`` finds in them."""
    generator = torch.Generator().manual_seed(rank)
    left = torch.randn(shape[0], rank, generator=generator, dtype=dtype)
    low = left @ torch.randn(rank, shape[1], generator=generator, dtype=dtype)
    full = torch.randn(shape, generator=generator, dtype=dtype)
    assert numerical_rank(low).item() == torch.linalg.matrix_rank(low).item() == rank
    assert numerical_rank(full).item() == torch.linalg.matrix_rank(full).item() == min(shape)


@pytest.mark.parametrize("size", [1e-4, 1e-6, 1e-9, 1e-13])
def test_numerical_rank_follows_the_precision(size: float) -> None:
    """A direction of a given size counts as far as the precision of the features resolves it."""
    for dtype in (torch.float32, torch.float64):
        features = torch.diag(torch.tensor([1.0, 1.0, size], dtype=dtype))
        assert numerical_rank(features).item() == torch.linalg.matrix_rank(features).item()


def test_half_precision_resolves_small_matrices_alone() -> None:
    """Where rounding could make up every singular value, the numerical rank is unknown."""
    features = torch.randn(100, 20, generator=torch.Generator().manual_seed(0))
    assert numerical_rank(features.to(torch.float16)).item() == 20
    assert math.isnan(numerical_rank(torch.ones(200, 20, dtype=torch.bfloat16)).item())
    assert not math.isnan(srank(torch.ones(200, 20, dtype=torch.bfloat16)).item())


def test_more_known_answers() -> None:
    """Spectrum 2, 1, 1: energy 6 over 4; 99 % of the squares need all three, 80 % two."""
    features = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    assert stable_rank(features).item() == pytest.approx(1.5)
    assert [pca_rank(features, delta).item() for delta in (0.01, 0.2, 0.4)] == [3, 2, 1]
    scaled = torch.eye(4) * 0.03
    assert feature_rank(scaled, 0.01).item() == 4
    assert feature_rank(scaled, 0.02).item() == 0
    assert feature_rank(scaled, 0.02, is_averaged=False).item() == 4


def test_participation_ratio_is_blind_to_the_mean() -> None:
    """A mean a million times the spread changes it by nothing that float32 features would not."""
    spread = torch.randn(200, 30, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    shifted = spread * 16 + 2.0**20
    assert participation_ratio(shifted).item() == pytest.approx(oracle.participation_ratio(shifted.double().numpy()))
    assert effective_rank(shifted).item() < 1.1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 3), (3, 1)])
def test_silent_and_constant_features(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """All 0 is rank 0 throughout; a constant has one direction, and no variance."""
    silent = torch.zeros(shape, dtype=dtype)
    assert [rank(silent).item() for rank in RANKS] == [0] * len(RANKS)
    constant = torch.full(shape, 0.3, dtype=dtype)
    assert [rank(constant).item() for rank in RANKS] == pytest.approx([1, 1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_rank_of_what_is_not_finite_is_nan(bad: float, shape: tuple[int, int], dtype: torch.dtype) -> None:
    """One such feature makes every rank of its layer unknown, and none of another layer's."""
    features = torch.ones(shape, dtype=dtype)
    features[1, 2] = bad
    assert all(math.isnan(rank(features).item()) for rank in RANKS)
    reading = FeatureRank()(Capture(network="n", features={"bad": features, "good": torch.eye(4)}))
    assert all(math.isnan(reading[rank.__name__]["bad"].item()) for rank in RANKS)
    assert not any(math.isnan(reading[rank.__name__]["good"].item()) for rank in RANKS)


def test_no_samples_is_nan() -> None:
    """Without samples nothing is known, the ceiling included."""
    nothing = torch.zeros(0, 3)
    assert all(math.isnan(rank(nothing).item()) for rank in RANKS)
    reading = FeatureRank()(Capture(network="n", features={"a": nothing}))
    assert all(math.isnan(row["a"].item()) for row in reading.values())


def test_noise_of_the_gram_matrix_is_not_counted() -> None:
    """Exactly repeated features leave no trace of a second direction, however many there are."""
    copies = torch.rand(300, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 200)
    assert int((singular_values(copies) > 0).sum()) == 1
    assert effective_rank(copies).item() == pytest.approx(1, abs=1e-12)


def test_groups_are_decomposed_apart() -> None:
    """Each group has the ranks of its own samples and its own ceiling; one without samples is NaN."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 12, generator=generator).relu()
    groups = torch.tensor([0] * 30 + [1] * 5 + [3] * 15)[torch.randperm(50, generator=generator)]
    reading = FeatureRank()(Capture(network="n", features={"a": features}, groups={"a": groups}))
    for group in (0, 1, 3):
        own = features[groups == group]
        assert reading["group_srank"]["a"][group].item() == srank(own).item()
        assert reading["group_effective_rank"]["a"][group].item() == pytest.approx(effective_rank(own).item())
        assert reading["group_rank_ceiling"]["a"][group].item() == min(own.shape)
    assert all(math.isnan(reading[name]["a"][2].item()) for name in ("group_srank", "group_rank_ceiling"))
    assert math.isnan(reading["group_effective_rank"]["a"][2].item())


def test_constants_stand_in_the_passports() -> None:
    """What the caller chose is used, and written down."""
    probe = FeatureRank(delta=0.3, epsilon=0.5, is_averaged=False)
    passports = {definition.variable: definition.parameters for definition in probe.definitions}
    assert passports["feature_rank"] == {"epsilon": 0.5, "averaged": False, "centred": False}
    assert passports["group_srank"] == passports["pca_rank"] == {"delta": 0.3, "centred": False}
    features = torch.randn(30, 10, generator=torch.Generator().manual_seed(0))
    reading = probe(Capture(network="n", features={"a": features}))
    assert reading["feature_rank"]["a"] == feature_rank(features, 0.5, is_averaged=False)
    assert reading["pca_rank"]["a"] == pca_rank(features, 0.3)


def test_ceiling_is_the_smaller_side() -> None:
    """Beside the ranks stands what they cannot exceed."""
    reading = FeatureRank()(Capture(network="n", features={"wide": torch.ones(4, 9), "tall": torch.ones(9, 4)}))
    assert {layer: value.item() for layer, value in reading["rank_ceiling"].items()} == {"wide": 4, "tall": 4}


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passport carries delta."""
    probe = FeatureRank(delta=0.2)
    assert isinstance(probe, Probe)
    reading = probe(Capture(network="n", features={"a": torch.eye(5)}, groups={"a": torch.tensor([0, 0, 1, 1, 1])}))
    assert reading.keys() == {definition.variable for definition in probe.definitions}
    assert reading["srank"]["a"].item() == 4
    assert probe.definitions[0].parameters == {"delta": 0.2, "centred": False}
