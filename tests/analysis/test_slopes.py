"""Slopes per doubling, on named scales."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from plastikit.analysis.regression import Observations
from plastikit.analysis.slopes import Slope, fit_slopes

GRID = np.array([(w, k, s) for w in (32, 64, 128) for k in (1, 4) for s in range(4)], dtype=float)
WIDTHS, TASKS = GRID[:, 0], GRID[:, 1]
CLUSTERS = (TASKS * 10 + GRID[:, 2]).astype(int)


def slopes(values: Any, keep: Any = slice(None), **options: Any) -> tuple[Slope, Slope, Slope]:
    """Slopes of values that follow the grid above."""
    observed = Observations(values=np.asarray(values)[keep], clusters=CLUSTERS[keep])
    return fit_slopes(observed, widths=WIDTHS[keep], task_counts=TASKS[keep], **options)


def noise(size: float) -> np.ndarray:
    """The same small noise at each call."""
    return np.random.default_rng(1).normal(0, size, len(GRID))


def test_a_power_law_reads_as_a_factor_per_doubling() -> None:
    """A value that grows with width and shrinks with the root of the tasks doubles, and falls by 1/√2."""
    width, tasks, interaction = slopes(WIDTHS / TASKS**0.5 * 2 ** noise(0.01), scale="log2")
    assert width.factor[0] == pytest.approx(2.0, rel=0.02)
    assert tasks.factor[0] == pytest.approx(2**-0.5, rel=0.02)
    assert interaction.factor[0] == pytest.approx(1.0, rel=0.02)
    assert width.reading.startswith("value × 2")
    assert "95% interval" in width.reading
    assert width.low < 1.0 < width.high or width.low == pytest.approx(1.0, abs=0.02)


def test_an_interaction_can_hold_on_one_scale_and_fail_on_the_other() -> None:
    """What multiplies is additive in logarithms, and interacts as a difference."""
    values = 0.01 * WIDTHS / TASKS**0.5 * 2 ** noise(0.01)
    *_, as_ratio = slopes(values, scale="log2")
    *_, as_difference = slopes(values, scale="difference")
    assert as_ratio.low < 0.0 < as_ratio.high
    assert as_difference.high < 0.0


def test_shares_read_in_odds_and_percentage_points() -> None:
    """A share names its scale in words: odds as a factor, differences in percentage points with a real minus sign."""
    shares = 1 / (1 + np.exp(3 - 0.7 * np.log2(WIDTHS / 32) + 0.5 * np.log2(TASKS) + noise(0.05)))
    width, tasks, _ = slopes(shares, scale="log-odds", is_share=True)
    assert width.amount.startswith("odds × 2")
    assert tasks.factor[0] < 1.0
    _, fewer, _ = slopes(shares, scale="difference", is_share=True)
    assert fewer.amount.startswith("−")
    assert "percentage points per doubling of the task count" in fewer.reading


@pytest.mark.parametrize(
    ("keep", "missing", "why"),
    [
        (WIDTHS == 32, (0, 2), "same width"),
        (TASKS == 1, (1, 2), "same task count"),
        ((WIDTHS == 32) & (TASKS == 1) | (WIDTHS == 64) & (TASKS == 4), (0, 1, 2), "vary only together"),
        (~((WIDTHS != 32) & (TASKS == 4)) & (WIDTHS != 128), (2,), "all four corners"),
    ],
)
def test_what_the_grid_does_not_tell_is_nan_with_a_reason(keep: Any, missing: tuple[int, ...], why: str) -> None:
    """A slope that the runs cannot identify is NaN and says why; the others stand."""
    found = slopes(WIDTHS / TASKS + noise(0.01), keep, scale="log2")
    assert tuple(position for position, slope in enumerate(found) if math.isnan(slope.estimate)) == missing
    assert any(why in found[position].note for position in missing)
    assert all("not estimated" in found[position].reading for position in missing)


def test_nothing_to_fit_is_no_error() -> None:
    """Without a single run all three slopes are NaN and say so."""
    found = slopes(np.zeros(len(GRID)), slice(0, 0), scale="log2")
    assert all(math.isnan(slope.estimate) and slope.note for slope in found)
