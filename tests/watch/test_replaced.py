"""Layers that are replaced while they are watched: the record follows the model as it is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks

from oracles.runs import group
from plastikit.watch.attach import attach
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import every


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, monitor: Monitor | None = None) -> None:
    model(torch.ones(5, 3)).square().mean().backward()
    optimizer.step()
    if monitor is not None:
        monitor.step()
    optimizer.zero_grad()


def _replace_midway(path: Path, *, interval: int, is_heard: bool) -> np.ndarray[Any, Any]:
    """Six updates, a new first layer before the fourth; its weight's norm and relative update, [record, 2]."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with attach(model, optimizer=optimizer if is_heard else None, store=path, schedule=every(interval)) as monitor:
        for step in range(6):
            if step == 3:
                model[0] = nn.Linear(3, 6)
                optimizer.add_param_group({"params": list(model[0].parameters())})
            weight = model.get_parameter("0.weight")
            before = weight.detach().clone()
            _update(model, optimizer, None if is_heard else monitor)
            change = torch.linalg.vector_norm(weight.detach() - before) / before.norm()
            expected.append((before.norm().item(), change.item()))
    return np.array(expected[::interval])


@pytest.mark.parametrize("is_heard", [True, False], ids=["optimizer", "step"])
@pytest.mark.parametrize("interval", [1, 2])
def test_a_replaced_layer(interval: int, is_heard: bool, tmp_path: Path) -> None:
    """Norms, gradients and updates are those of the new parameter; its way from initialisation is unknown, as told."""
    path = tmp_path / "run.zarr"
    with pytest.warns(UserWarning, match=r"parameter 0.weight was replaced; its distance") as told:
        expected = _replace_midway(path, interval=interval, is_heard=is_heard)
    assert {warning.filename for warning in told} == {__file__}
    assert sorted(str(warning.message).split(";")[0] for warning in told) == [
        "parameter 0.bias was replaced",
        "parameter 0.weight was replaced",
    ]
    whole = group(path, "diagnostics")
    run = whole.sel(parameter="0.weight", network="model")
    if interval == 1 and not is_heard:
        # What stood before an update that nobody announced is not known where the layer was replaced since.
        expected[3] = np.nan
    np.testing.assert_allclose(run["weight_norm"], expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(run["update_to_weight_ratio"], expected[:, 1], rtol=1e-4)
    np.testing.assert_array_equal(np.isnan(run["network_weight_norm"]), np.isnan(expected[:, 0]))
    assert (run["gradient_norm"] > 0).all()
    for distance in (run["distance_from_init"], run["network_distance_from_init"]):
        np.testing.assert_array_equal(np.isnan(distance), distance["step"] >= 3)
    assert np.isfinite(whole["distance_from_init"].sel(parameter="2.weight")).all()


def _grow(path: Path) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=path, schedule=every(1)):
        _update(model, optimizer)
        model[2] = nn.Linear(6, 4, bias=False)
        model.append(nn.Linear(4, 2))
        optimizer.add_param_group({"params": [*model[2].parameters(), *model[3].parameters()]})
        _update(model, optimizer)


def test_another_shape_and_new_names(tmp_path: Path) -> None:
    """A parameter of another shape is followed; a new name joins the axis, one that is gone is NaN from then on."""
    path = tmp_path / "run.zarr"
    with pytest.warns(UserWarning, match=r"parameter 2.bias was removed"):
        _grow(path)
    norm = group(path, "diagnostics")["weight_norm"]
    assert list(norm["parameter"].values) == ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert np.isfinite(norm.values).tolist() == [[True] * 4 + [False] * 2, [True] * 3 + [False, True, True]]


def test_an_optimizer_built_anew_is_told(tmp_path: Path) -> None:
    """A new layer that only a new optimizer updates: its steps are not heard, and the run says so."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr")
    _update(model, optimizer)
    model[0] = nn.Linear(3, 6)
    _update(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match=r"updates the new parameters 0.bias, 0.weight; the steps of an optimizer"):
        monitor.close()
    assert monitor.steps == 1


@pytest.mark.parametrize("interval", [1, 2])
def test_a_replaced_activation(interval: int, tmp_path: Path) -> None:
    """The module that stands at the layer's place is the one that is measured; no hook is left on either."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    path = tmp_path / "run.zarr"
    old = model[1]
    with attach(model, optimizer=optimizer, store=path, schedule=every(interval)):
        for step in range(4):
            if step == 2:
                model[1] = nn.Tanh()
            _update(model, optimizer)
    activation = group(path, "diagnostics")["unit_activation"]
    hidden = model[0](torch.ones(5, 3)).detach()
    for step, function in ((0, torch.relu), (2, torch.tanh)):
        torch.testing.assert_close(
            torch.tensor(activation.sel(step=step).values), function(hidden).abs().mean(dim=0), rtol=1e-5, atol=1e-6
        )
    assert not any(module._forward_hooks for module in (old, *model.modules()))


def test_an_optimizer_that_takes_the_place_of_the_attached_one_is_told(tmp_path: Path) -> None:
    """Its steps are not heard, which is a warning at the first of them; another network's optimizer is none."""
    model, other = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    before = len(_global_optimizer_post_hooks)
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for network, size in ((other, 2), (model, 3)):
            stranger = torch.optim.SGD(network.parameters(), lr=0.1)
            for _ in range(3):
                network(torch.ones(5, size)).sum().backward()
                stranger.step()
    assert ["not attached" in str(each.message) for each in warned] == [True]
    monitor.close()
    assert len(_global_optimizer_post_hooks) == before
