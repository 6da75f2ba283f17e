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


def feature_rank(features: npt.NDArray[np.float64], epsilon: float = 0.01) -> float:
    """Singular values of the features over the root of the batch that exceed epsilon."""
    return float(sum(value > epsilon for value in singular_values(features / math.sqrt(features.shape[0]))))


def pca_rank(features: npt.NDArray[np.float64], delta: float = 0.01) -> float:
    """The smallest k whose largest k squared singular values sum to at least 1 - delta of all of them."""
    squares = [value**2 for value in singular_values(features)]
    total = math.fsum(squares)
    if total == 0:
        return 0.0
    return float(next(k for k in range(1, len(squares) + 1) if math.fsum(squares[:k]) / total >= 1 - delta))


def stable_rank(features: npt.NDArray[np.float64]) -> float:
    """Squared Frobenius norm over squared spectral norm."""
    largest = float(np.linalg.norm(features, 2))
    return float(np.linalg.norm(features, "fro")) ** 2 / largest**2 if largest else 0.0


def participation_ratio(features: npt.NDArray[np.float64]) -> float:
    """(Σλ)² / Σλ² of the eigenvalues of the covariance, which NumPy computes."""
    if len(features) < 2:
        return 0.0
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(features, rowvar=False)))
    squares = math.fsum(eigenvalues**2)
    return math.fsum(eigenvalues) ** 2 / squares if squares else 0.0
