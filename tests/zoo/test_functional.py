"""Models that torch.func calls with other parameters: measured rightly, or said not to be."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

import plastikit
from plastikit import every
from plastikit.errors import NothingToWatchError
from zoo import models_dense as dense
from zoo.reckoning import probes


def _ensemble() -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    members = [nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)) for _ in range(3)]
    parameters, _ = stack_module_state(members)
    return members[0], parameters


def test_an_ensemble_of_stacked_parameters_is_refused(tmp_path: Path) -> None:
    """Its optimizer updates tensors that no module owns."""
    model, parameters = _ensemble()
    with pytest.raises(NothingToWatchError, match="updates no parameter"):
        plastikit.attach(model, optimizer=torch.optim.SGD(list(parameters.values())), store=tmp_path / "run.zarr")


def test_layers_under_vmap_are_said_not_to_be_measured(tmp_path: Path) -> None:
    """What runs for all members at once is no tensor that could be read; the training is as without a monitor."""
    found = []
    for is_watched in (False, True):
        model, parameters = _ensemble()
        optimizer = torch.optim.SGD(list(parameters.values()), lr=0.1)
        given = torch.randn(7, 5)
        monitor = plastikit.attach(model, store=tmp_path / "run.zarr", schedule=every(1)) if is_watched else None
        for _ in range(3):
            optimizer.zero_grad()
            output = vmap(lambda values, x, model=model: functional_call(model, values, (x,)), (0, None))(
                parameters, given
            )
            output.square().mean().backward()
            optimizer.step()
            if monitor is not None:
                with pytest.warns(UserWarning, match="runs under torch.func") if monitor.steps == 0 else nullcontext():
                    monitor.step()
        if monitor is not None:
            monitor.close()
        found.append(torch.cat([tensor.detach().flatten() for tensor in parameters.values()]))
    assert found[0].equal(found[1])
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    assert "unit_activation" not in diagnostics


def test_gradients_of_single_samples(tmp_path: Path) -> None:
    """A gradient by torch.func beside the training is not taken for the training's forward."""
    torch.manual_seed(0)
    model = dense.by_modules().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = torch.randn(12, 5)
    with plastikit.attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", probes=probes()):
        model(given).square().mean().backward()
        expected = torch.relu(model[0](given)).abs().mean(dim=0)
        values = {name: parameter.detach() for name, parameter in model.named_parameters()}

        def loss(values: dict[str, Tensor], sample: Tensor) -> Tensor:
            return functional_call(model, values, (sample[None],)).square().mean()

        vmap(grad(loss), (None, 0))(values, given)
        with pytest.warns(UserWarning, match="runs under torch.func"):
            optimizer.step()
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    if "unit_activation" in diagnostics:
        torch.testing.assert_close(torch.tensor(diagnostics["unit_activation"].values[0, :8]), expected.detach())
