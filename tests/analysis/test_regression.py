"""Models of one value per run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plastikit.analysis.regression import Observations, fit, obstacle

GRID = np.array([(w, k, s) for w in (0.0, 1.0, 2.0) for k in (0.0, 1.0) for s in range(4)])
DESIGN = np.column_stack([np.ones(len(GRID)), GRID[:, 0], GRID[:, 1]])
CELLS = (GRID[:, 0] * 2 + GRID[:, 1]).astype(int)
CLUSTERS = (GRID[:, 1] * 4 + GRID[:, 2]).astype(int)


def observed(values: np.ndarray, units: np.ndarray | None = None) -> Observations:
    """Values of the grid above."""
    return Observations(values=values, clusters=CLUSTERS, units=units)


def test_the_binomial_model_finds_the_odds_it_was_made_with() -> None:
    """Shares without noise give back their coefficients in log-odds."""
    truth = np.array([-3.0, 0.7, -0.4])
    shares = 1.0 / (1.0 + np.exp(-DESIGN @ truth))
    found = fit(observed(shares, np.full(len(shares), 96.0)), CELLS, DESIGN, "log-odds", level=0.95)
    assert found.estimates == pytest.approx(truth, abs=1e-6)
    assert "binomial GLM" in found.method


def test_cluster_robust_intervals_agree_with_the_sandwich_written_out() -> None:
    """Half the interval is t times the square root of the sandwich (X'X)⁻¹ Σ X'ee'X (X'X)⁻¹ with its correction."""
    from scipy.stats import t

    values = DESIGN @ [1.0, 0.5, -0.2] + np.random.default_rng(0).normal(0, 0.1, len(GRID))
    found = fit(observed(values), CELLS, DESIGN, "difference", level=0.95)
    bread = np.linalg.inv(DESIGN.T @ DESIGN)
    residuals = values - DESIGN @ (bread @ DESIGN.T @ values)
    scores = [DESIGN[g == CLUSTERS].T @ residuals[g == CLUSTERS] for g in np.unique(CLUSTERS)]
    groups, (n, p) = len(scores), DESIGN.shape
    correction = groups / (groups - 1) * (n - 1) / (n - p)
    errors = np.sqrt(correction * np.diag(bread @ sum(np.outer(s, s) for s in scores) @ bread))
    assert (found.high - found.low) / 2 == pytest.approx(t.ppf(0.975, groups - p) * errors, rel=1e-9)


def test_empty_cells_get_half_a_unit() -> None:
    """A cell whose units are all active has no odds; half a unit makes the estimate finite, and the note says so."""
    shares = np.where(CELLS == 0, 0.0, 0.1)
    found = fit(observed(shares, np.full(len(shares), 50.0)), CELLS, DESIGN, "log-odds", level=0.95)
    assert np.isfinite(found.estimates).all()
    assert "Half a unit" in found.note


def test_too_few_clusters_give_the_estimate_alone() -> None:
    """With no more clusters than coefficients there is an estimate, no interval, and a sentence why."""
    few = Observations(values=DESIGN @ [1.0, 0.5, -0.2], clusters=(GRID[:, 1]).astype(int))
    found = fit(few, CELLS, DESIGN, "difference", level=0.95)
    assert found.estimates == pytest.approx([1.0, 0.5, -0.2])
    assert np.isnan(found.low).all()
    assert "No interval" in found.note


@pytest.mark.parametrize(
    ("values", "scale", "why"),
    [
        (np.zeros(24), "log-odds", "All runs have the value 0"),
        (np.full(24, 3.0), "difference", "All runs have the value 3"),
        (np.linspace(-1, 1, 24), "log2", "no logarithm"),
        (np.where(CELLS == 1, 0.0, 0.2), "log-odds", "In some cell"),
        (np.array([]), "log2", "No run"),
    ],
)
def test_values_that_a_scale_has_no_place_for(values: Any, scale: Any, why: str) -> None:
    """Constant values, logarithms of nothing and empty samples are named instead of fitted."""
    assert why in obstacle(Observations(values=values, clusters=CLUSTERS[: len(values)]), CELLS[: len(values)], scale)


def test_intervals_cover_what_they_say() -> None:
    """In 300 sweeps whose runs share an effect of tasks and seed, 95% intervals cover the slope in 90 to 99%."""
    generator = np.random.default_rng(5)
    truth = np.array([1.0, 0.5, -0.2])
    covered = 0
    for _ in range(300):
        shared = generator.normal(0, 0.3, CLUSTERS.max() + 1)[CLUSTERS]
        values = DESIGN @ truth + shared + generator.normal(0, 0.2, len(GRID))
        found = fit(observed(values), CELLS, DESIGN, "difference", level=0.95)
        covered += int(found.low[1] <= truth[1] <= found.high[1])
    assert 0.90 <= covered / 300 <= 0.99
