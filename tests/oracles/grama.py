"""GraMa by its definition, one unit and one sample at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def unit_gradient(gradients: npt.NDArray[np.float64]) -> list[float]:
    """Mean |gradient| of each unit, summed exactly."""
    return [math.fsum(abs(g) for g in column) / len(column) for column in gradients.T.tolist()]


def dormant_fraction(gradients: npt.NDArray[np.float64], tau: float) -> float:
    """Share of units whose mean |gradient| is at most tau of the mean over units; all of a layer without gradient."""
    means = unit_gradient(gradients)
    layer = math.fsum(means) / len(means)
    return sum(1 for mean in means if layer == 0 or mean / layer <= tau) / len(means)
