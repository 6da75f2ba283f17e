"""What each layer of a model puts out, by hand; and what a record must say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from oracles import dormancy, norms, rank
from plastikit.probes.dormancy import DormantFraction
from plastikit.probes.gradients import GradientNorm
from plastikit.probes.grama import GradientDormancy
from plastikit.probes.optimizer import UpdateRatio
from plastikit.probes.parameters import WeightNorm
from plastikit.probes.rank import FeatureRank
from plastikit.probes.saturation import Saturation
from plastikit.record.dataset import open_run
from plastikit.watch.probe import Probe

TAUS: Final = (0.0, 0.001, 0.025, 0.1)
SMOOTH: Final = frozenset({"tanh", "gelu", "silu", "gru", "lstm", "attention", "prelu", "sigmoid", "glu", "softplus"})
"""Functions of which no unit is ever dead."""

Value = float | list[float]
Values = dict[str, dict[str, Value]]


@dataclass
class Noted:
    """One layer's output."""

    outputs: list[Tensor]
    inputs: list[Tensor]
    axis: int
    function: str | None


@dataclass
class Reckoning:
    """Collects what an oracle reckons."""

    training: Mapping[str, bool] = field(default_factory=dict)
    layers: dict[str, Noted] = field(default_factory=dict)

    def note(
        self, label: str, output: Tensor, given: Tensor | None = None, *, axis: int = -1, function: str | None = None
    ) -> Tensor:
        """A layer's output, and what went into its function; a second note of one label adds to it."""
        noted = self.layers.setdefault(label, Noted([], [], axis, function))
        for tensor, tensors in ((output, noted.outputs), (given, noted.inputs)):
            if tensor is not None:
                tensors.append(tensor)
                if tensor.requires_grad:
                    tensor.retain_grad()
        return output

    def relu(self, label: str, given: Tensor, *, axis: int = -1) -> Tensor:
        """A rectifier."""
        return self.note(
            label, torch.where(given > 0, given, torch.zeros_like(given)), given, axis=axis, function="relu"
        )

    def tanh(self, label: str, given: Tensor, *, axis: int = -1) -> Tensor:
        """A hyperbolic tangent."""
        return self.note(label, 1 - 2 / (torch.exp(2 * given) + 1), given, axis=axis, function="tanh")

    def gelu(self, label: str, given: Tensor, *, axis: int = -1) -> Tensor:
        """The exact GELU."""
        output = given * (1 + torch.erf(given / math.sqrt(2))) / 2
        return self.note(label, output, given, axis=axis, function="gelu")

    def silu(self, label: str, given: Tensor, *, axis: int = -1) -> Tensor:
        """x times its logistic function."""
        return self.note(label, given / (1 + torch.exp(-given)), given, axis=axis, function="silu")

    def drop(self, given: Tensor, share: float) -> Tensor:
        """Dropout, which draws what the model drew."""
        mask = torch.nn.functional.dropout(torch.ones(given.shape), share)
        return given * mask.to(given.dtype)

    def expected(self, network: str) -> Values:
        """Variable -> layer or network -> value, of all that is measured of layers."""
        values: Values = {}
        all_features = {}
        for label, noted in self.layers.items():
            features = matrix(noted.outputs, noted.axis)
            all_features[label] = features
            for variable, value in of_features(features, noted.function).items():
                values.setdefault(variable, {})[label] = value
            gradients = gradients_of(noted.outputs, noted.axis)
            if gradients is not None:
                values.setdefault("unit_gradient", {})[label] = dormancy.unit_activation(gradients)
                values.setdefault("grama_dormant_fraction", {})[label] = dormancy.dormant_fraction(gradients, 0.01)
            if noted.inputs and noted.inputs[0].shape == noted.outputs[0].shape:
                given = matrix(noted.inputs, noted.axis)
                rows = [norms.frobenius(row) for row in given]
                values.setdefault("pre_activation_norm", {})[label] = math.fsum(rows) / len(rows) if rows else math.nan
                values.setdefault("linearised_fraction", {})[label] = linearised(given)
        units = sum(features.shape[1] for features in all_features.values())
        if units and all(len(features) for features in all_features.values()):
            counts = [[dormancy.dormant_count(f, tau) for f in all_features.values()] for tau in TAUS]
            values["network_dormant_fraction"] = {network: [sum(row) / units for row in counts]}
        return values


def matrix(tensors: list[Tensor], axis: int) -> np.ndarray[Any, Any]:
    """[sample, unit]."""
    moved = [np.moveaxis(tensor.detach().to(torch.float64).numpy(), axis, -1) for tensor in tensors]
    return np.concatenate([each.reshape(-1, each.shape[-1]) for each in moved])


def gradients_of(tensors: list[Tensor], axis: int) -> np.ndarray[Any, Any] | None:
    """Of the loss with respect to these, [sample, unit]; None where there is none."""
    found = [tensor.grad for tensor in tensors if tensor.requires_grad and tensor.grad is not None]
    return matrix(found, axis) if found and len(found) == len(tensors) else None


def of_features(features: np.ndarray[Any, Any], function: str | None) -> dict[str, Value]:
    """What is measured of the activations of one layer."""
    samples, units = features.shape
    if not samples:
        nothing: dict[str, Value] = {"dormant_fraction": [math.nan] * 4, "unit_activation": [math.nan] * units}
        return nothing | {"zero_fraction": math.nan, "dead_fraction": math.nan}
    values: dict[str, Value] = {
        "dormant_fraction": [dormancy.dormant_fraction(features, tau) for tau in TAUS],
        "unit_activation": dormancy.unit_activation(features),
        "srank": rank.srank(features),
        "effective_rank": rank.effective_rank(features),
        "rank_ceiling": min(features.shape),
        "zero_fraction": float((features == 0).sum()) / features.size,
    }
    if function not in SMOOTH:
        values["dead_fraction"] = sum(not features[:, unit].any() for unit in range(units)) / units
    if function == "tanh":
        values["saturated_fraction"] = float((abs(features) > 0.99).sum()) / features.size
    return values


def linearised(given: np.ndarray[Any, Any]) -> float:
    """Share of units of which the input is positive on all samples or on none."""
    if not len(given):
        return math.nan
    fixed = [bool((column > 0).all()) or not bool((column > 0).any()) for column in given.T]
    return sum(fixed) / len(fixed)


def of_parameters(before: Mapping[str, Tensor], gradients: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Values:
    """What is measured of each parameter, from copies of it."""
    arrays = {name: before[name].double().numpy() for name in after}
    updated = {name: tensor.double().numpy() for name, tensor in after.items()}
    found: Values = {
        "weight_norm": {name: norms.frobenius(array) for name, array in arrays.items()},
        "update_to_weight_ratio": {name: norms.update_ratio([arrays[name]], [updated[name]]) for name in arrays},
        "gradient_norm": {name: norms.frobenius(tensor.double().numpy()) for name, tensor in gradients.items()},
    }
    return found


def probes() -> list[Probe]:
    """The probes whose values are reckoned."""
    return [
        DormantFraction(taus=TAUS), FeatureRank(), WeightNorm(), GradientNorm(), UpdateRatio(), Saturation(),
        GradientDormancy(),
    ]  # fmt: skip


VARIABLES: Final = (
    "dormant_fraction", "unit_activation", "srank", "effective_rank", "rank_ceiling", "zero_fraction", "dead_fraction",
    "saturated_fraction", "linearised_fraction", "pre_activation_norm", "unit_gradient", "grama_dormant_fraction",
    "weight_norm", "gradient_norm", "update_to_weight_ratio", "network_dormant_fraction",
)  # fmt: skip


def assert_recorded(path: Path, step: int, expected: Values, *, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """The run holds what was reckoned at ``step``, and NaN for all that was not."""
    diagnostics = open_run(path)["diagnostics"].to_dataset()
    assert set(diagnostics["layer"].values) >= expected["unit_activation"].keys()
    for variable in VARIABLES:
        wanted = expected.get(variable, {})
        if variable not in diagnostics:
            assert not wanted, f"{variable} was not recorded, where {wanted} was expected"
            continue
        row = diagnostics[variable].sel(step=step)
        dim = "layer" if row.dims[0] == "unit" else str(row.dims[0])
        assert wanted.keys() <= set(diagnostics[dim].values), f"{variable} is not recorded for all of {list(wanted)}"
        for position, label in enumerate(map(str, diagnostics[dim].values)):
            is_of_units = row.dims[0] == "unit"
            found = row.values[diagnostics["unit_layer"].values == position] if is_of_units else row.values[position]
            np.testing.assert_allclose(
                found,
                wanted.get(label, np.nan),
                rtol=rtol,
                atol=atol,
                err_msg=f"{variable} of {label} at step {step}",
            )
