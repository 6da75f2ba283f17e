"""Reducing a metric within each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.analysis.selection import default_tau, select
from plastikit.errors import UnknownNameError


def one(run: object, step: int) -> float:
    """The same everywhere."""
    return 1.0


@pytest.fixture
def runs(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> xr.DataTree:
    """Two runs whose layers hold 1, 2, 3, 4 (actor; critic_0 twice; critic_1) and whose networks hold 10, 20, 30."""
    names = ("srank", "dormant_fraction", "weight_norm", "success_rate")
    tree = join(grid([2], [32, 64], 1), dict.fromkeys(names, one))
    diagnostics = tree["diagnostics"].to_dataset()
    ramp = xr.DataArray([1.0, 2.0, 3.0, 4.0], dims="layer")
    diagnostics["srank"] = diagnostics["srank"] * ramp
    diagnostics["dormant_fraction"] = diagnostics["dormant_fraction"] * ramp / 10
    diagnostics["network_weight_norm"] = diagnostics["network_weight_norm"] * xr.DataArray(
        [10.0, 20.0, 30.0], dims="network"
    )
    tree["diagnostics"] = xr.DataTree(diagnostics)
    return tree


def test_layers_are_averaged_within_networks_and_networks_with_each_other(runs: xr.DataTree) -> None:
    """The critics' two and one layers count as one network each: (2.5 + 4) / 2."""
    assert select(runs, "srank", network="critic").curve.values[0, 0] == 3.25
    assert select(runs, "srank").curve.values[0, 0] == pytest.approx((1 + 2.5 + 4) / 3)
    assert select(runs, "srank", network="actor").curve.values[0, 0] == 1.0
    assert select(runs, "srank", network="critic_1").curve.values[0, 0] == 4.0


def test_the_value_of_the_whole_network_is_preferred_unless_a_layer_is_named(runs: xr.DataTree) -> None:
    """A pooled sibling is taken where there is one; a parameter's name or pattern goes to the parameters."""
    assert select(runs, "weight_norm", network="critic").curve.values[0, 0] == 25.0
    assert select(runs, "weight_norm", parameter="actor.*.weight").curve.values[0, 0] == 1.0
    assert select(runs, "dormant_fraction", layer="critic_0.*_2").curve.values[0, 0] == pytest.approx(0.3)


def test_shares_of_units_know_of_how_many(runs: xr.DataTree) -> None:
    """The units behind a share are those of the layers that it was taken over."""
    assert select(runs, "dormant_fraction", network="critic").units.values.tolist() == [96.0, 192.0]
    assert select(runs, "dormant_fraction", layer="actor.*").units.values.tolist() == [32.0, 64.0]
    assert select(runs, "srank").units is None


def test_layers_of_different_size_weigh_by_their_units(runs: xr.DataTree) -> None:
    """Over layers a share of units is pooled by counts, as if the units lay in one layer."""
    diagnostics = runs["diagnostics"].to_dataset()
    units = np.tile([32, 30, 10, 32], (2, 1))
    runs["diagnostics"] = xr.DataTree(diagnostics.assign_coords(layer_units=(("run", "layer"), units)))
    found = select(runs, "dormant_fraction", layer="critic_0.*")
    assert found.curve.values[0, 0] == pytest.approx((0.2 * 30 + 0.3 * 10) / 40)
    assert found.units.values[0] == 40.0


def test_layers_of_other_runs_do_not_count_and_own_gaps_do(runs: xr.DataTree) -> None:
    """A layer that a run does not have is left out of its mean; one that it has and did not measure makes it NaN."""
    diagnostics = runs["diagnostics"].to_dataset()
    ranks = diagnostics["srank"].values.copy()
    ranks[0, :, 2] = np.nan
    ranks[1, 3, 2] = np.nan
    diagnostics["srank"] = (("run", "step", "layer"), ranks, diagnostics["srank"].attrs)
    runs["diagnostics"] = xr.DataTree(diagnostics)
    curve = select(runs, "srank", network="critic_0").curve.values
    assert (curve[0] == 2.0).all()
    assert np.isnan(curve[1, 3])
    assert curve[1, 2] == 2.5


def test_tasks_are_averaged_within_the_run(runs: xr.DataTree) -> None:
    """An evaluation metric is the mean over the tasks that the run has."""
    assert select(runs, "success_rate").label == "mean over tasks"
    assert (select(runs, "success_rate").curve.values == 1.0).all()


@pytest.mark.parametrize(
    "asked",
    [{"network": "citric"}, {"layer": "critic_9.*"}, {"tau": 0.5}, {"parameter": "nothing"}],
)
def test_what_is_not_there_is_an_error(runs: xr.DataTree, asked: dict[str, Any]) -> None:
    """An unknown network, layer, parameter or threshold is refused with what there is."""
    with pytest.raises(UnknownNameError):
        select(runs, "dormant_fraction", **asked)


def test_the_threshold_that_is_meant_where_none_is_named() -> None:
    """It is 0.025, or the largest one recorded where 0.025 was not."""
    assert default_tau([0.0, 0.025, 0.1]) == 0.025
    assert default_tau([0.0, 0.1]) == 0.1
