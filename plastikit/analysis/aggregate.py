"""The interquartile mean of runs, and how far the runs that there are can pin it down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Statistic = Callable[[Values], Values]

FEW_RUNS: Final = 5
"""Up to this many runs percentile intervals are too narrow, and the interval is bias-corrected and accelerated."""
NO_INTERVAL: Final = "none"

_RESAMPLES: Final = 4000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What a sample says about where its statistic lies; NaN at both ends where it says nothing."""

    low: float
    high: float
    level: float
    method: str
    """How it was found, in words: the bootstrap and its resamples, or why there is none."""


def interquartile_mean(values: Values) -> Values:
    """Mean of the middle half along the last axis: a quarter of the values, rounded down, is cut off at each end.

    With three values or fewer nothing is cut off and it is the plain mean.

    NaN: no value, or any value NaN.
    Reference: Agarwal et al. 2021, arXiv:2108.13264.

    >>> float(interquartile_mean(np.array([1.0, 2.0, 4.0, 90.0])))
    3.0
    """
    count = values.shape[-1]
    if count == 0:
        return np.full(values.shape[:-1], np.nan)
    cut = count // 4
    middle = np.sort(values, axis=-1)[..., cut : count - cut].mean(axis=-1)
    return np.asarray(np.where(np.isnan(values).any(axis=-1), np.nan, middle))


def bootstrap_interval(
    strata: Sequence[Values],
    *,
    statistic: Statistic = interquartile_mean,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic over runs, from resampling whole runs within each stratum.

    With three to five runs in one stratum every possible resample is taken, so that nothing is left to chance, and the
    interval is BCa, which still covers less often than ``level`` says; with more it is the percentile interval of
    4,000 resamples.

    Args:
        strata: values of the runs, one array per stratum (one array is the plain bootstrap).
        statistic: maps ``[..., run]`` to ``[...]``.
        level: probability that the interval is meant to cover.
        seed: of the resamples.

    NaN: fewer than three runs, or all values equal: resampling cannot show how far they could have fallen apart.
    Reference: Efron 1987, doi:10.1080/01621459.1987.10478410 (BCa); Agarwal et al. 2021, arXiv:2108.13264 (strata).
    """
    sample = np.concatenate([np.asarray(stratum, dtype=np.float64) for stratum in strata])
    reason = _obstacle(strata, sample)
    if reason:
        return Interval(low=math.nan, high=math.nan, level=level, method=f"{NO_INTERVAL}: {reason}")

    few = sample.size <= FEW_RUNS
    exact = few and len(strata) == 1
    if exact:
        picks = np.indices((sample.size,) * sample.size).reshape(sample.size, -1).T
        replicates = statistic(sample[picks])
    else:
        generator = np.random.default_rng(seed)
        replicates = statistic(
            np.concatenate(
                [stratum[generator.integers(len(stratum), size=(_RESAMPLES, len(stratum)))] for stratum in strata],
                axis=-1,
            )
        )
    tails = np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    if few:
        tails = _accelerated(tails, replicates, sample, statistic)
    low, high = np.quantile(replicates, tails)
    kind = "BCa" if few else "percentile"
    resamples = f"all {len(replicates)} resamples" if exact else f"{_RESAMPLES} resamples"
    caution = "; undercovers with so few runs" if few else ""
    return Interval(low=float(low), high=float(high), level=level, method=f"{kind} bootstrap, {resamples}{caution}")


def _obstacle(strata: Sequence[Values], sample: Values) -> str:
    if np.isnan(sample).any():
        return "a value is missing"
    if sample.size < 2:
        return "one run cannot bound it"
    if sample.size == 2:
        return "two runs cannot bound it; every run is shown"
    return "all runs have the same value" if all(np.ptp(stratum) == 0.0 for stratum in strata if len(stratum)) else ""


def _accelerated(tails: Values, replicates: Values, sample: Values, statistic: Statistic) -> Values:
    """Move the tail probabilities by the bias z0 and the acceleration a of the statistic."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415  reading a run needs no SciPy

    estimate = statistic(sample)
    below = np.mean(replicates < estimate) + 0.5 * np.mean(replicates == estimate)
    z0 = float(ndtri(np.clip(below, 1.0 / (len(replicates) + 1), len(replicates) / (len(replicates) + 1))))
    left_out = np.array([statistic(np.delete(sample, position)) for position in range(sample.size)])
    pull = left_out.mean() - left_out
    spread = float((pull**2).sum())
    a = float((pull**3).sum()) / (6.0 * spread**1.5) if spread > 0.0 else 0.0
    z = z0 + ndtri(tails)
    return np.asarray(ndtr(z0 + z / (1.0 - a * z)))
