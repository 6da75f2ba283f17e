"""One look at a model: the same numbers as the pure functions, and clear errors."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plastikit.errors import ConfigurationError, NothingToWatchError, UnknownNameError
from plastikit.probes import PROBES, DormantFraction, FeatureRank, dormant_fraction, srank, unit_activation
from plastikit.watch.look import measure, resolve_probes


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 1))


def test_measure_agrees_with_the_functions() -> None:
    """The labelled values are those of the pure functions on the model's activations in evaluation mode."""
    model = _model()
    inputs = torch.randn(10, 3)
    values = measure(model, inputs)
    model.eval()
    features = model[2](model[1](model[0](inputs))).detach()
    assert values["srank"] == {"2": srank(features).item()}
    assert values["dormant_fraction"]["2"][0.1] == pytest.approx(dormant_fraction(features, 0.1).item())
    assert values["network_dormant_fraction"]["model"].keys() == {0.0, 0.001, 0.025, 0.1}
    np.testing.assert_allclose(values["unit_activation"]["2"], unit_activation(features).numpy())
    assert values["weight_norm"]["4.weight"] == pytest.approx(model.get_parameter("4.weight").norm().item())


def test_what_there_is_not_is_not_measured() -> None:
    """Without gradients, an initial state and an update there is no value for them, rather than 0."""
    values = measure(_model(), torch.randn(10, 3))
    assert not {"gradient_norm", "distance_from_init", "update_to_weight_ratio"} & values.keys()
    model = _model()
    model(torch.randn(10, 3)).sum().backward()
    grad = model.get_parameter("4.weight").grad
    assert grad is not None
    assert measure(model, torch.randn(10, 3))["gradient_norm"]["4.weight"] == pytest.approx(grad.norm().item())


def test_groups() -> None:
    """With groups there is a fraction for each group."""
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    inputs = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    values = measure(model, inputs, probes=[DormantFraction(taus=(0.0,))], groups=[0, 1])
    assert values["group_dormant_fraction"]["1"] == {0: {0.0: 0.5}, 1: {0.0: 0.0}}


def test_several_models_and_ways_to_call() -> None:
    """A mapping of models takes a mapping of inputs; a tuple and a dictionary are arguments."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            total: torch.Tensor = self.relu(one + two)
            return total

    ones = torch.ones(2, 3)
    values = measure(
        {"a": Sum(), "b": Sum()}, {"a": (ones, ones), "b": {"one": ones, "two": 0 * ones}}, probes=["dormancy"]
    )
    assert values["unit_activation"]["a.relu"].tolist() == [2, 2, 2]
    assert values["unit_activation"]["b.relu"].tolist() == [1, 1, 1]
    with pytest.raises(UnknownNameError, match=r"unknown network 'c'"):
        measure({"a": Sum()}, {"c": (ones, ones)})
    with pytest.raises(ConfigurationError, match=r"inputs are a Tensor, where the networks are a"):
        measure({"a": Sum()}, ones)


class _Hidden(nn.Module):
    """Writes into its input where no torch function shows it."""

    def forward(self, inputs: Tensor) -> Tensor:
        """A part of torch's own machinery does such things."""
        with torch._C.DisableTorchFunction():
            return inputs.add_(1.0)


def test_a_layer_written_into_is_told() -> None:
    """A layer that cannot be read is a warning and no value."""
    model = nn.Sequential(nn.Linear(2, 2), _Hidden(), nn.ReLU())
    with pytest.warns(UserWarning, match=r"layer 0 was written into"):
        values = measure(model, torch.randn(5, 2), layers=["0", "2"])
    assert values["srank"].keys() == {"2"}
    assert "network_dormant_fraction" not in values


def test_under_inference_mode() -> None:
    """Inference tensors, which count no writes, are measured."""
    model = _model()
    with torch.inference_mode():
        assert measure(model, torch.randn(10, 3), probes=["rank"])["rank_ceiling"] == {"2": 6}


def test_probes_are_checked() -> None:
    """Unknown names, none at all, something else, and two that claim the same variable or axis."""
    with pytest.raises(UnknownNameError, match=r"unknown probe 'dormacy'. Did you mean dormancy"):
        resolve_probes(["dormacy"])
    with pytest.raises(ConfigurationError, match=r"no probe was given"):
        resolve_probes([])
    with pytest.raises(ConfigurationError, match=r"3 is no probe"):
        resolve_probes(cast("Any", [3]))
    with pytest.raises(ConfigurationError, match=r"is no probe"):
        resolve_probes(cast("Any", [FeatureRank]))
    with pytest.raises(ConfigurationError, match=r"two probes give the variable 'srank'"):
        resolve_probes(["rank", FeatureRank(delta=0.1)])
    assert [probe.name for probe in resolve_probes("rank")] == ["rank"]
    assert [probe.name for probe in resolve_probes("default")] == list(PROBES)


def test_two_probes_with_one_axis() -> None:
    """Two probes may share an axis, but not give it different values."""

    class Other(DormantFraction):
        name = "other"

        @property
        def definitions(self) -> tuple[Any, ...]:
            return ()

    assert len(resolve_probes([DormantFraction(), cast("Any", Other())])) == 2
    with pytest.raises(ConfigurationError, match=r"the axis 'tau' different values"):
        resolve_probes([DormantFraction(), cast("Any", Other(taus=(0.5,)))])


def test_no_model() -> None:
    """An empty mapping has nothing to watch."""
    with pytest.raises(NothingToWatchError, match=r"mapping of models is empty"):
        measure({}, {})
