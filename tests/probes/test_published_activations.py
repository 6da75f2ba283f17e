"""Activation metrics agree with the published implementations, and where those differ it is known why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import Tensor

from plastikit.probes import (
    DormantFraction,
    GradientDormancy,
    dead_fraction,
    dormant_fraction,
    effective_rank,
    feature_rank,
    numerical_rank,
    pca_rank,
    saturated_fraction,
    srank,
    stable_rank,
    unit_gradient,
    unit_score,
    zero_fraction,
)
from plastikit.watch.probe import Capture

# How the values were made, and from which commit of which repository, stands in the file itself.
PUBLISHED: Final = json.loads(Path(__file__).with_name("published_activations.json").read_text(encoding="utf-8"))
TAUS: Final = tuple(PUBLISHED["made"]["taus"])
RELATIVE: Final = 1e-5

Case = tuple[Tensor, dict[str, Any]]


def _features(kind: str, seed: int, samples: int, units: int) -> Tensor:
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((samples, units))
    if kind == "relu":
        features = np.maximum(features, 0) * 10 ** np.linspace(-4, 1, units)
        features[:, ::5] = 0
    elif kind == "tanh":
        features = np.tanh(3 * features)
    elif kind == "sigmoid":
        features = 1 / (1 + np.exp(-4 * features))
    elif kind == "low_rank":
        features = features[:, :3] @ generator.standard_normal((3, units))
    elif kind == "faint":
        features = np.abs(features)
        features[:, 0] *= 1e-10
    return torch.tensor(features.astype(np.float32))


@pytest.fixture(
    params=PUBLISHED["cases"],
    ids=lambda case: f"{case['kind']}-{case['samples']}x{case['units']}",
)
def case(request: pytest.FixtureRequest) -> Case:
    """An input, and what the published functions answered."""
    given = request.param
    return _features(given["kind"], given["seed"], given["samples"], given["units"]), given["values"]


def test_scores_are_those_of_dopamine(case: Case) -> None:
    """Each unit's score is ``estimate_neuron_score``, which adds 1e-9 to the layer's mean."""
    features, values = case
    expected = torch.tensor(values["dopamine/estimate_neuron_score"])
    torch.testing.assert_close(unit_score(features), expected, rtol=RELATIVE, atol=0)


def test_dormant_units_are_those_of_dopamine_and_mtrl(case: Case) -> None:
    """At every threshold as many units are dormant, by the pure function, in the probe and pooled."""
    features, values = case
    for name in ("dopamine/log_dead_neurons_count", "mtrl/get_dormant_neuron_logs"):
        units = features.shape[1]
        assert [round(dormant_fraction(features, tau).item() * units) for tau in TAUS] == values[name]
        reading = DormantFraction(taus=TAUS)(Capture(network="n", features={"a": features}))
        for variable, label in (("dormant_fraction", "a"), ("network_dormant_fraction", "n")):
            assert [round(value * units) for value in reading[variable][label].tolist()] == values[name]


def test_redo_calls_faint_units_silent(case: Case) -> None:
    """The torch port of ReDo agrees above 0; at tau = 0 it takes scores below 1e-8 for 0, and we do not."""
    features, values = case
    ours = [round(dormant_fraction(features, tau).item() * features.shape[1]) for tau in TAUS]
    assert ours[1:] == values["redo/_get_redo_masks"][1:]
    faint = int(((unit_score(features) > 0) & (unit_score(features) <= 1e-8)).sum())
    assert ours[0] == values["redo/_get_redo_masks"][0] - faint


def test_that_there_is_a_faint_unit() -> None:
    """One of the inputs shows the difference at tau = 0."""
    assert any(
        case["values"]["redo/_get_redo_masks"][0] != case["values"]["dopamine/log_dead_neurons_count"][0]
        for case in PUBLISHED["cases"]
    )


def test_srank_is_that_of_mtrl(case: Case) -> None:
    """The srank is ``compute_srank``; loss-of-plasticity has it under two other names, one of them stable rank."""
    features, values = case
    assert srank(features).item() == values["mtrl/compute_srank"]
    assert srank(features).item() == values["lop/approximate_rank_abs"]
    assert srank(features).item() == values["lop/compute_stable_rank"]


def test_a_published_srank_is_off_by_one(case: Case) -> None:
    """One public srank gives the index of the last singular value that it needs, which counts from 0."""
    features, values = case
    assert srank(features).item() == values["implicit/effective_rank"] + 1


def test_stable_rank_is_not_the_published_one() -> None:
    """What loss-of-plasticity calls the stable rank is the srank; the stable rank is much smaller."""
    for given in PUBLISHED["cases"]:
        features = _features(given["kind"], given["seed"], given["samples"], given["units"])
        sigma = np.linalg.svd(features.double().numpy(), compute_uv=False)
        ours = stable_rank(features).item()
        assert ours == pytest.approx((sigma**2).sum() / sigma[0] ** 2)
        assert ours <= given["values"]["lop/compute_stable_rank"]


def test_effective_and_pca_rank_are_those_of_loss_of_plasticity(case: Case) -> None:
    """The effective rank agrees; its approximate rank, which squares the singular values, is the PCA rank."""
    features, values = case
    assert effective_rank(features).item() == pytest.approx(values["lop/effective_rank"], rel=RELATIVE)
    assert pca_rank(features).item() == values["lop/approximate_rank"]


def test_numerical_rank_is_that_of_torch(case: Case) -> None:
    """The numerical rank is ``torch.linalg.matrix_rank``, in the precision of the features."""
    features, values = case
    assert numerical_rank(features).item() == values["torch/matrix_rank"]
    assert numerical_rank(features.double()).item() == values["torch/matrix_rank_float64"]


def test_a_published_rank_counts_rounding() -> None:
    """The rank of loss-of-plasticity counts every singular value that is not exactly 0: 40 where there are 3."""
    given = next(case for case in PUBLISHED["cases"] if case["kind"] == "low_rank")
    features = _features(given["kind"], given["seed"], given["samples"], given["units"])
    assert given["values"]["lop/rank"] == 40
    assert numerical_rank(features).item() == 3


def test_a_feature_rank_without_the_root_of_the_batch_is_another() -> None:
    """Left out, as in published plots, the root of the batch size makes the feature rank grow with the batch."""
    features = _features("relu", 2, 1280, 100)
    assert feature_rank(features) == feature_rank(features * 1280**-0.5, is_averaged=False)
    assert feature_rank(features) < feature_rank(features, is_averaged=False)


def test_dead_units_are_those_of_loss_of_plasticity(case: Case) -> None:
    """As many units are 0 on every sample."""
    features, values = case
    assert round(dead_fraction(features).item() * features.shape[1]) == values["lop/dead_neurons"]


def test_what_one_library_calls_dead_is_the_zero_or_the_saturated_fraction(case: Case) -> None:
    """``calc_dead_units`` of deep-rl-plasticity is the zero fraction for ReLU, else the saturated fraction."""
    features, values = case
    assert zero_fraction(features).item() == pytest.approx(values["juliani/relu"], rel=RELATIVE)
    assert saturated_fraction(features).item() == pytest.approx(values["juliani/tanh"], rel=RELATIVE)
    assert saturated_fraction(features, 0.01, 0.99).item() == pytest.approx(values["juliani/sigmoid"], rel=RELATIVE)
    if values["juliani/relu"] not in {0, 0.75}:
        assert dead_fraction(features).item() != pytest.approx(values["juliani/relu"], rel=0.1)


def test_gradient_dormancy_is_that_of_agilerl(case: Case) -> None:
    """Scores and dormant units are those of ReGraMa; it takes units with a NaN gradient for dormant, and we do not."""
    gradients, values = case
    expected = torch.tensor(values["agilerl/per_neuron_grad"])
    torch.testing.assert_close(unit_gradient(gradients), expected, rtol=RELATIVE, atol=0)
    reading = GradientDormancy(at="pre_activation")(Capture(network="n", pre_gradients={"a": gradients}))
    dormant = round(reading["grama_dormant_fraction"]["a"].item() * gradients.shape[1])
    assert dormant == len(values["agilerl/dormant_indices"])
