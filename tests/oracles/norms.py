"""Norms of parameters, gradients and updates by their definitions, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frobenius(*arrays: Array) -> float:
    """Root of the sum of all squared entries, of several arrays as one vector."""
    return math.sqrt(math.fsum(float(entry) ** 2 for array in arrays for entry in array.ravel()))


def rms(*arrays: Array) -> float:
    """Root of the mean of all squared entries."""
    return frobenius(*arrays) / math.sqrt(sum(array.size for array in arrays))


def mean_absolute(*arrays: Array) -> float:
    """Mean of the absolute values of all entries."""
    return math.fsum(abs(float(entry)) for array in arrays for entry in array.ravel()) / sum(a.size for a in arrays)


def largest(*arrays: Array) -> float:
    """Largest absolute value of all entries."""
    return max(abs(float(entry)) for array in arrays for entry in array.ravel())


def distance(these: Sequence[Array], those: Sequence[Array]) -> float:
    """Norm of the difference."""
    return frobenius(*(this - that for this, that in zip(these, those, strict=True)))


def zero_fraction(*arrays: Array) -> float:
    """Share of entries that are exactly 0."""
    return sum(1 for array in arrays for entry in array.ravel() if entry == 0) / sum(array.size for array in arrays)


def update_ratio(before: Sequence[Array], after: Sequence[Array]) -> float:
    """Norm of the change over the norm before it; NaN where that is 0."""
    norm = frobenius(*before)
    return distance(after, before) / norm if norm else math.nan
