"""Heatmaps of one run."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from plastikit.figures.layers import layer_figure


def history(layers: int = 3, dim: str = "layer") -> xr.DataArray:
    """A ramp over four steps."""
    return xr.DataArray(
        np.arange(layers * 4, dtype=float).reshape(layers, 4) / 100,
        dims=(dim, "step"),
        coords={dim: [f"actor.trunk.hidden_{number}" for number in range(layers)], "step": [0, 10, 20, 30]},
        attrs={"valid_range": "[0, 1]"},
    )


@pytest.mark.parametrize("dim", ["layer", "parameter"])
def test_rows_are_layers_and_columns_are_steps(dim: str) -> None:
    """The values stand as they were, the first layer on top, under its own name."""
    made = layer_figure(history(dim=dim))
    (heatmap,), figure = made.data, made.to_plotly_json()
    assert np.allclose(heatmap.z, history().values)
    assert list(heatmap.x) == [0, 10, 20, 30]
    assert list(figure["layout"]["yaxis"]["ticktext"]) == ["hidden_0", "hidden_1", "hidden_2"]
    top, bottom = figure["layout"]["yaxis"]["range"][::-1]
    assert top < bottom


def test_given_limits_make_runs_comparable() -> None:
    """The colour scale ends where it is told to, and at the run's own range otherwise."""
    (told,) = layer_figure(history(), limits=(0.0, 1.0)).to_plotly_json()["data"]
    (own,) = layer_figure(history()).to_plotly_json()["data"]
    assert (told["zmin"], told["zmax"]) == (0.0, 1.0)
    assert own["zmax"] == pytest.approx(0.11)


def test_constant_values_still_have_a_scale() -> None:
    """A history that never changes does not get a colour scale of no length."""
    (heatmap,) = layer_figure(history() * 0.0).to_plotly_json()["data"]
    assert heatmap["zmin"] < heatmap["zmax"]


def test_more_layers_make_a_taller_figure() -> None:
    """Rows keep their height, and shrink once there are many."""
    few, many = (layer_figure(history(count)).layout.height for count in (3, 24))
    assert few < many < 8 * few
