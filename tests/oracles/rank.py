"""Ranks by their definitions, from a full singular value decomposition in float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def singular_values(features: npt.NDArray[np.float64]) -> list[float]:
    """Singular values of the feature matrix itself, largest first."""
    return [float(value) for value in np.linalg.svd(features.astype(np.float64), compute_uv=False)]


def srank(features: npt.NDArray[np.float64], delta: float = 0.01) -> float:
    """The smallest k whose largest k singular values sum to at least 1 - delta of all of them."""
    sigma = singular_values(features)
    total = math.fsum(sigma)
    if total == 0:
        return 0.0
    return float(next(k for k in range(1, len(sigma) + 1) if math.fsum(sigma[:k]) / total >= 1 - delta))


def effective_rank(features: npt.NDArray[np.float64]) -> float:
    """Exponential of the entropy of the singular values over their sum."""
    sigma = singular_values(features)
    total = math.fsum(sigma)
    if total == 0:
        return 0.0
    shares = [value / total for value in sigma if value > 0]
    return math.exp(-math.fsum(share * math.log(share) for share in shares))
