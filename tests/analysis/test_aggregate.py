"""The interquartile mean and its bootstrap intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from plastikit.analysis.aggregate import bootstrap_interval, interquartile_mean


def slow_interquartile_mean(values: list[float]) -> float:
    """Sort, drop a quarter (rounded down) of the entries at each end, average what is left, in plain Python."""
    ordered = sorted(values)
    for _ in range(int(0.25 * len(values))):
        ordered = ordered[1:-1]
    return sum(ordered) / len(ordered)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 12, 50])
def test_interquartile_mean_agrees_with_rliable_scipy_and_the_plain_definition(count: int) -> None:
    """The interquartile mean equals rliable's, SciPy's trimmed mean and a loop, whatever the number of runs."""
    metrics = pytest.importorskip("rliable.metrics")
    values = np.random.default_rng(count).normal(size=count)
    found = float(interquartile_mean(values))
    assert found == pytest.approx(float(metrics.aggregate_iqm(values[:, None])), rel=1e-12)
    assert found == pytest.approx(float(stats.trim_mean(values, 0.25)), rel=1e-12)
    assert found == pytest.approx(slow_interquartile_mean(values.tolist()), rel=1e-12)


def test_a_missing_value_is_never_averaged_away() -> None:
    """One NaN makes the interquartile mean NaN, and so does having no value at all."""
    assert np.isnan(interquartile_mean(np.array([1.0, np.nan, 3.0, 4.0])))
    assert np.isnan(interquartile_mean(np.array([])))


def test_few_runs_get_bca_over_every_resample() -> None:
    """Up to five runs the interval is BCa and agrees with SciPy's, which draws its resamples at random."""
    values = np.array([0.1, 0.37, 0.45, 0.52, 0.9])
    found = bootstrap_interval([values], statistic=lambda sample: sample.mean(axis=-1))
    reference = stats.bootstrap((values,), np.mean, n_resamples=200_000, method="BCa", rng=1)
    assert found.method == "BCa bootstrap, all 3125 resamples; undercovers with so few runs"
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.01)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.01)


def test_many_runs_get_the_percentile_interval() -> None:
    """Above five runs the interval is the percentile bootstrap, the same at each call, and near SciPy's."""
    values = np.random.default_rng(3).normal(size=20)
    found = bootstrap_interval([values])
    reference = stats.bootstrap((values,), interquartile_mean, n_resamples=50_000, method="percentile", rng=1)
    assert found.method == "percentile bootstrap, 4000 resamples"
    assert found == bootstrap_interval([values])
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.05)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.05)


def test_every_resample_of_three_runs_is_what_a_loop_lists() -> None:
    """The percentiles behind the exact bootstrap are those of all 27 resamples of three runs, listed one by one."""
    values = [1.0, 2.0, 10.0]
    means = sorted(sum(resample) / 3 for resample in itertools.product(values, repeat=3))
    found = bootstrap_interval([np.array(values)], statistic=lambda sample: sample.mean(axis=-1))
    assert means[0] <= found.low < np.mean(values) < found.high <= means[-1]


def test_strata_are_resampled_each_by_itself() -> None:
    """Two strata that differ much between and little within give a narrow interval, where pooling gives a wide one."""
    low, high = np.linspace(0.0, 0.1, 8), np.linspace(10.0, 10.1, 8)
    apart = bootstrap_interval([low, high], statistic=lambda sample: sample.mean(axis=-1))
    pooled = bootstrap_interval([np.concatenate([low, high])], statistic=lambda sample: sample.mean(axis=-1))
    assert apart.high - apart.low < 0.1
    assert pooled.high - pooled.low > 1.0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.3], "one run"),
        ([0.3, 0.5], "two runs cannot bound it; every run is shown"),
        ([0.3, 0.3, 0.3], "same value"),
        ([0.3, float("nan")], "missing"),
    ],
)
def test_no_interval_where_resampling_shows_nothing(values: list[float], reason: str) -> None:
    """One run, two runs, equal runs and a missing value have a NaN interval that says why."""
    found = bootstrap_interval([np.array(values)])
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert found.method.startswith("none")
    assert reason in found.method
