"""What a record must hold, from what was seen by hand at that moment of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor, nn

from oracles import dormancy, norms, rank
from plastikit.probes import PROBES

Array = npt.NDArray[np.float64]
Value = float | list[float]
TAUS = (0.0, 0.001, 0.025, 0.1)

REPLAYED = {
    definition.variable
    for name in ("dormancy", "rank", "parameters", "gradients", "updates")
    for definition in PROBES[name]().definitions
} - {"numerical_rank", "effective_learning_rate"}
"""What can be re-derived from features, parameters and gradients alone; single-precision noise decides the former."""


@dataclass
class Moment:
    """One network around one update: everything copied by hand, in float64."""

    network: str
    prefix: str = ""
    features: dict[str, Array] = field(default_factory=dict)
    initial: dict[str, Array] = field(default_factory=dict)
    before: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    after: dict[str, Array] = field(default_factory=dict)


def array(tensor: Tensor) -> Array:
    """A copy in float64."""
    return tensor.detach().clone().to(torch.float64).numpy()


def parameters(model: nn.Module, prefix: str = "") -> dict[str, Array]:
    """A copy of every parameter."""
    return {f"{prefix}{name}": array(parameter) for name, parameter in model.named_parameters()}


def gradients(model: nn.Module, prefix: str = "") -> dict[str, Array]:
    """A copy of every gradient there is."""
    return {
        f"{prefix}{name}": array(parameter.grad)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def by_unit(tensor: Tensor, axis: int) -> Array:
    """[sample, unit], whatever the layout was."""
    moved = np.moveaxis(array(tensor), axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def expected(moment: Moment) -> dict[str, dict[str, Value]]:
    """Variable -> label -> value, all re-derived."""
    values: dict[str, dict[str, Value]] = {}

    def put(variable: str, label: str, value: Value) -> None:
        values.setdefault(variable, {})[label] = value

    for layer, features in moment.features.items():
        put("dormant_fraction", layer, [dormancy.dormant_fraction(features, tau) for tau in TAUS])
        put("unit_activation", layer, dormancy.unit_activation(features))
        put("srank", layer, rank.srank(features))
        put("effective_rank", layer, rank.effective_rank(features))
        put("feature_rank", layer, rank.feature_rank(features))
        put("pca_rank", layer, rank.pca_rank(features))
        put("stable_rank", layer, rank.stable_rank(features))
        put("participation_ratio", layer, rank.participation_ratio(features))
        put("rank_ceiling", layer, min(features.shape))
    if moment.features:
        units = sum(features.shape[1] for features in moment.features.values())
        pooled = [sum(dormancy.dormant_count(f, tau) for f in moment.features.values()) / units for tau in TAUS]
        put("network_dormant_fraction", moment.network, pooled)
    for name, before in moment.before.items():
        put("weight_norm", name, norms.frobenius(before))
        put("weight_rms", name, norms.rms(before))
        put("weight_mean_absolute", name, norms.mean_absolute(before))
        put("distance_from_init", name, norms.distance([before], [moment.initial[name]]))
        put("relative_distance_from_init", name, _share(before, moment.initial[name]))
    for name, after in moment.after.items():
        put("update_to_weight_ratio", name, norms.update_ratio([moment.before[name]], [after]))
    for name, gradient in moment.gradients.items():
        put("gradient_norm", name, norms.frobenius(gradient))
        put("gradient_rms", name, norms.rms(gradient))
        put("gradient_max", name, norms.largest(gradient))
        put("gradient_zero_fraction", name, norms.zero_fraction(gradient))
    weights = [name for name, before in moment.before.items() if before.ndim >= 2]
    if weights:
        all_before = [moment.before[name] for name in weights]
        put("network_weight_norm", moment.network, norms.frobenius(*all_before))
        put("network_weight_rms", moment.network, norms.rms(*all_before))
        put("network_weight_mean_absolute", moment.network, norms.mean_absolute(*all_before))
        initial = [moment.initial[name] for name in weights]
        way, origin = norms.distance(all_before, initial), norms.frobenius(*initial)
        put("network_distance_from_init", moment.network, way)
        put("network_relative_distance_from_init", moment.network, way / origin)
        if moment.after:
            ratio = norms.update_ratio(all_before, [moment.after[name] for name in weights])
            put("network_update_to_weight_ratio", moment.network, ratio)
    if moment.gradients:
        put("network_gradient_norm", moment.network, norms.frobenius(*moment.gradients.values()))
        put("network_gradient_rms", moment.network, norms.rms(*moment.gradients.values()))
        put("network_gradient_max", moment.network, norms.largest(*moment.gradients.values()))
        put("network_gradient_zero_fraction", moment.network, norms.zero_fraction(*moment.gradients.values()))
    return values


def _share(before: Array, initial: Array) -> float:
    origin = norms.frobenius(initial)
    return norms.distance([before], [initial]) / origin if origin else np.nan


def stored(diagnostics: xr.Dataset, variable: str, label: str, step: int) -> Array:
    """What lies in the run for one variable and label at ``step``."""
    row = diagnostics[variable].sel(step=step)
    if "unit" in row.dims:
        position = list(diagnostics["layer"].values).index(label)
        return np.asarray(row.values[diagnostics["unit_layer"].values == position])
    return np.asarray(row.sel({row.dims[0]: label}).values)


def assert_record(diagnostics: xr.Dataset, step: int, moments: Mapping[str, Moment]) -> None:
    """The record at ``step`` holds exactly what the moments say, and NaN for all else that the named probes give."""
    wanted: dict[str, dict[str, Value]] = {}
    for moment in moments.values():
        for variable, row in expected(moment).items():
            wanted.setdefault(variable, {}).update(row)
    for variable in map(str, diagnostics.data_vars):
        if variable not in REPLAYED:
            continue
        label_of = str(diagnostics[variable].dims[1])
        labels = diagnostics["layer" if label_of == "unit" else label_of].values
        for label in map(str, labels):
            value = wanted.get(variable, {}).get(label, np.nan)
            found = stored(diagnostics, variable, label, step)
            np.testing.assert_allclose(
                found, value, rtol=2e-5, atol=1e-7, err_msg=f"{variable} of {label} at step {step}"
            )
    assert wanted.keys() <= set(map(str, diagnostics.data_vars))
