"""Conflict and noise of gradients by their definitions, one sample and one pair at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def cosine(this: Array, that: Array) -> float:
    """Inner product over both norms."""
    return math.fsum(this * that) / math.sqrt(math.fsum(this * this) * math.fsum(that * that))


def mean_of(samples: Array) -> Array:
    """Mean of the rows, one entry at a time."""
    return np.array([math.fsum(column) / len(column) for column in samples.T])


def between(by_group: Sequence[Array]) -> tuple[float, float, float]:
    """Mean cosine, share below 0 and mean norm ratio over all pairs of groups; each [sample, entry]."""
    means = [mean_of(samples) for samples in by_group]
    pairs = list(itertools.combinations(means, 2))
    cosines = [cosine(this, that) for this, that in pairs]
    ratios = []
    for this, that in pairs:
        first, second = math.sqrt(math.fsum(this * this)), math.sqrt(math.fsum(that * that))
        ratios.append(min(first, second) / max(first, second))
    count = len(pairs)
    return math.fsum(cosines) / count, sum(1 for one in cosines if one < 0) / count, math.fsum(ratios) / count


def halves(by_group: Sequence[Sequence[Array]]) -> float:
    """Mean over groups of the cosine between their even and their odd pieces; each [sample, entry]."""
    cosines = []
    for pieces in by_group:
        if len(pieces) > 1:
            even, odd = np.concatenate(pieces[0::2]), np.concatenate(pieces[1::2])
            cosines.append(cosine(mean_of(even), mean_of(odd)))
    return math.fsum(cosines) / len(cosines)


def noise_scale(by_group: Sequence[Array]) -> float:
    """Trace of the covariance within groups over the squared norm of the mean, both unbiased; [sample, entry]."""
    every = np.concatenate(by_group)
    trace = 0.0
    for samples in by_group:
        deviations = samples - mean_of(samples)
        trace += len(samples) / len(every) * math.fsum((deviations**2).ravel()) / (len(samples) - 1)
    mean = mean_of(every)
    return trace / (math.fsum(mean * mean) - trace / len(every))


def signal_to_noise(by_group: Sequence[Array], epsilon: float) -> float:
    """Mean over entries of the squared mean over the unbiased variance within groups; [sample, entry]."""
    every = np.concatenate(by_group)
    mean = mean_of(every)
    ratios = []
    for entry in range(every.shape[1]):
        variance = math.fsum(
            len(samples)
            / len(every)
            * math.fsum((samples[:, entry] - mean_of(samples)[entry]) ** 2)
            / (len(samples) - 1)
            for samples in by_group
        )
        ratios.append(mean[entry] ** 2 / (variance + epsilon))
    return math.fsum(ratios) / len(ratios)
