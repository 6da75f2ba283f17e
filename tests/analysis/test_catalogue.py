"""Which metrics runs hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import xarray as xr

from plastikit.analysis.catalogue import find_metric, metrics, networks
from plastikit.errors import UnknownNameError


def value(run: object, step: int) -> float:
    """The same everywhere."""
    return 0.5


def test_metrics_are_listed_once_with_their_pooled_sibling(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """A variable and its network_ sibling are one metric, and evaluation comes last."""
    runs = join(grid([1], [32], 1), dict.fromkeys(("dormant_fraction", "srank", "success_rate"), value))
    found = {metric.name: metric for metric in metrics(runs)}
    assert list(found) == ["dormant_fraction", "srank", "success_rate"]
    assert found["dormant_fraction"].pooled == "network_dormant_fraction"
    assert found["dormant_fraction"].taus == (0.0, 0.025)
    assert found["dormant_fraction"].counts_units
    assert found["success_rate"].is_fraction
    assert not found["success_rate"].counts_units
    assert not found["srank"].is_fraction


def test_an_unknown_metric_names_what_there_is(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Asking for a metric that was not recorded says which are nearest."""
    runs = join(grid([1], [32], 1), {"dormant_fraction": value})
    with pytest.raises(UnknownNameError, match="dormant_fraction"):
        find_metric(runs, "dormant_fractoin")
    assert find_metric(runs, "network_dormant_fraction").name == "dormant_fraction"


def test_numbered_networks_go_under_one_name(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """critic_0 and critic_1 are called critic, and a network alone keeps its name."""
    runs = join(grid([1], [32], 1), {"srank": value})
    assert networks(runs) == {"critic": ("critic_0", "critic_1"), "actor": ("actor",)}


def test_runs_without_a_record_say_so(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """Runs that were interrupted before their first record are not blamed on the name of the metric."""
    with pytest.raises(UnknownNameError, match="hold no records yet"):
        find_metric(join(grid([1], [32], 1), {}, ()), "srank")


def test_a_metric_has_the_passport_of_its_pooled_sibling_too(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """The value of a layer and that of the network are two definitions, the second first in a reader's way."""
    runs = join(grid([1], [32], 1), dict.fromkeys(("dormant_fraction", "srank"), value))
    dormant, srank = metrics(runs)
    assert [found.variable for found in dormant.definitions] == ["network_dormant_fraction", "dormant_fraction"]
    assert [found.variable for found in srank.definitions] == ["srank"]
