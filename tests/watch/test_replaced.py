"""Layers that are replaced while they are watched: the record follows the model as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.watch.monitor import Monitor, attach
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


@pytest.mark.parametrize("is_heard", [True, False], ids=["optimizer", "step"])
@pytest.mark.parametrize("interval", [1, 2])
def test_a_replaced_layer(interval: int, is_heard: bool, tmp_path: Path) -> None:
    """Norms, gradients and updates are those of the new parameter; its way from initialisation is unknown, as told."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    expected = []
    with (
        pytest.warns(UserWarning, match=r"parameter 0.weight was replaced; its distance") as told,
        attach(model, optimizer=optimizer if is_heard else None, store=path, schedule=every(interval)) as monitor,
    ):
        for step in range(6):
            if step == 3:
                model[0] = nn.Linear(3, 6)
                optimizer.add_param_group({"params": list(model[0].parameters())})
            weight = model.get_parameter("0.weight")
            before = weight.detach().clone()
            _update(model, optimizer, None if is_heard else monitor)
            if step % interval == 0:
                change = torch.linalg.vector_norm(weight.detach() - before) / before.norm()
                expected.append((before.norm().item(), change.item()))
    assert {warning.filename for warning in told} == {__file__}
    assert len([warning for warning in told if "0.weight" in str(warning.message)]) == 1
    run = group(path, "diagnostics").sel(parameter="0.weight")
    first = 3 if is_heard or interval == 2 else 4
    follows = run["step"].values != (-1 if is_heard or interval == 2 else 3)
    norms, changes = np.array(expected).T
    np.testing.assert_allclose(run["weight_norm"].values[follows], norms[follows], rtol=1e-5)
    np.testing.assert_allclose(run["update_to_weight_ratio"].values[follows], changes[follows], rtol=1e-4)
    # What stood before an update that nobody announced is not known where the layer was replaced since.
    assert np.isnan(run["weight_norm"].values[~follows]).all()
    assert (run["gradient_norm"] > 0).all()
    assert np.isnan(run["distance_from_init"].sel(step=slice(first, None))).all()
    assert np.isnan(run["network_distance_from_init"].sel(step=slice(first, None))).all()
    assert np.isfinite(run["network_distance_from_init"].sel(step=slice(0, 2))).all()
    kept = group(path, "diagnostics").sel(parameter="2.weight")["distance_from_init"]
    assert np.isfinite(kept).all()


def test_another_shape_and_new_names(tmp_path: Path) -> None:
    """A parameter of another shape is followed; a new name joins the axis, one that is gone is NaN from then on."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    with (
        pytest.warns(UserWarning, match=r"parameter 2.bias was removed"),
        attach(model, optimizer=optimizer, store=path, schedule=every(1)),
    ):
        _update(model, optimizer)
        model[2] = nn.Linear(6, 4, bias=False)
        model.append(nn.Linear(4, 2))
        optimizer.add_param_group({"params": [*model[2].parameters(), *model[3].parameters()]})
        _update(model, optimizer)
    norm = group(path, "diagnostics")["weight_norm"]
    assert list(norm["parameter"].values) == ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert np.isfinite(norm.values).tolist() == [[True] * 4 + [False] * 2, [True] * 3 + [False, True, True]]


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
