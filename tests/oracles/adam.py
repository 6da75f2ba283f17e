"""Adam by its paper, one entry at a time, from the gradients it was given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def moments(
    gradients: Sequence[Array], betas: tuple[float, float], *, amsgrad: bool = False
) -> tuple[list[float], list[float]]:
    """Both moments of each entry, corrected for their bias: the first, and the root of the second."""
    first, roots = [], []
    for entry in range(gradients[0].size):
        mean = square = largest = 0.0
        for gradient in gradients:
            value = float(gradient.ravel()[entry])
            mean = betas[0] * mean + (1 - betas[0]) * value
            square = betas[1] * square + (1 - betas[1]) * value * value
            largest = max(largest, square)
        steps = len(gradients)
        first.append(mean / (1 - betas[0] ** steps))
        roots.append(math.sqrt((largest if amsgrad else square) / (1 - betas[1] ** steps)))
    return first, roots


def update_rms(first: Sequence[float], roots: Sequence[float], epsilon: float) -> float:
    """Root mean square of the step before the learning rate."""
    steps = [(mean / (root + epsilon)) ** 2 for mean, root in zip(first, roots, strict=True)]
    return math.sqrt(math.fsum(steps) / len(steps))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` lies, on the line between its two neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
