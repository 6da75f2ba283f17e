"""One run layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from plastikit.analysis.layers import layer_history


def ramp(run: Any, step: int) -> float:
    """The step itself."""
    return float(step)


def test_a_history_has_the_runs_own_layers_and_steps(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Layers and steps that belong to other runs alone are not in it."""
    runs = join(grid([1], [32, 64], 1), {"srank": ramp})
    diagnostics = runs["diagnostics"].to_dataset()
    ranks = diagnostics["srank"].values.copy()
    ranks[0, :, 2] = np.nan
    ranks[0, 7:, :] = np.nan
    diagnostics["srank"] = (("run", "step", "layer"), ranks)
    runs["diagnostics"] = xr.DataTree(diagnostics)
    first, second = layer_history(runs, "srank")
    assert first.sizes == {"layer": 3, "step": 7}
    assert second.sizes == {"layer": 4, "step": 10}


def test_long_histories_are_thinned_to_even_records_with_both_ends(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Of 1,000 records 200 are kept, the first and the last among them, each as it was recorded."""
    (found,) = layer_history(join(grid([1], [32], 1), {"srank": ramp}, range(1000)), "srank")
    steps = found["step"].values
    assert len(steps) == 200
    assert (steps[0], steps[-1]) == (0, 999)
    assert np.diff(steps).max() - np.diff(steps).min() <= 1
    assert (found.values == steps).all()


def test_parameters_are_shown_by_their_weights(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Of a metric that belongs to parameters the biases are left out, and a pattern narrows it further."""
    runs = join(grid([1], [32], 1), {"weight_norm": ramp})
    (found,) = layer_history(runs, "weight_norm")
    assert all(str(name).endswith("weight") for name in found["parameter"].values)
    (critics,) = layer_history(runs, "weight_norm", pattern="critic_*")
    assert critics.sizes["parameter"] == 2


def test_a_run_without_values_gives_an_empty_history(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """NaN throughout is an empty array, not an error."""
    (found,) = layer_history(join(grid([1], [32], 1), {"srank": lambda run, step: np.nan}), "srank")
    assert found.size == 0
