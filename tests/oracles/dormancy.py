"""Dormancy by its definition, one unit and one sample at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def unit_activation(features: npt.NDArray[np.float64]) -> list[float]:
    """Mean |activation| of each unit, summed exactly."""
    samples, units = features.shape
    return [math.fsum(abs(float(features[s, u])) for s in range(samples)) / samples for u in range(units)]


def dormant_count(features: npt.NDArray[np.float64], tau: float) -> int:
    """Units whose score s_i = mean |h_i| / mean_k mean |h_k| is at most tau; all of a silent layer."""
    means = unit_activation(features)
    layer = math.fsum(means) / len(means)
    return sum(1 for mean in means if layer == 0 or mean / layer <= tau)


def dormant_fraction(features: npt.NDArray[np.float64], tau: float) -> float:
    """Share of the units that are dormant."""
    share: float = dormant_count(features, tau) / features.shape[1]
    return share


def dormant_units(features: npt.NDArray[np.float64], tau: float) -> set[int]:
    """Which units are dormant."""
    means = unit_activation(features)
    layer = math.fsum(means) / len(means)
    return {unit for unit, mean in enumerate(means) if layer == 0 or mean / layer <= tau}


def _of_groups(features: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], tau: float) -> list[set[int]]:
    return [dormant_units(features[groups == group], tau) for group in sorted(set(groups.tolist()))]


def group_dormant_intersection(features: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], tau: float) -> float:
    """Share of the units that are dormant for every group that there is."""
    return len(set.intersection(*_of_groups(features, groups, tau))) / features.shape[1]


def group_dormant_union(features: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], tau: float) -> float:
    """Share of the units that are dormant for some group."""
    return len(set.union(*_of_groups(features, groups, tau))) / features.shape[1]
