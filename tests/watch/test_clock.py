"""One network and whatever updates it: gradients, closures, scalers, several optimizers, steps within steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oracles import replay
from oracles.replay import Moment, assert_record
from oracles.runs import group
from plastikit.watch.attach import attach
from plastikit.watch.schedule import at, every


def test_parts_of_one_network_under_two_optimizers(tmp_path: Path) -> None:
    """Each parameter's gradient and update are those of its own optimizer's step, even rounds later."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    trunk = torch.optim.SGD(model[0].parameters(), lr=0.1)
    head = torch.optim.SGD(model[2].parameters(), lr=0.1)
    initial = replay.parameters(model)
    moment = Moment("model", initial=initial, before=initial)
    with attach(model, optimizer=[trunk, head], store=tmp_path / "run.zarr", schedule=every(5)):
        for round_ in range(4):
            inputs = torch.randn(6, 3)
            if round_ == 0:
                moment.features = {"1": replay.by_unit(model[1](model[0](inputs)), 1)}
            model.zero_grad(set_to_none=False)
            model(inputs).square().mean().backward()
            gradients, before = replay.gradients(model), replay.parameters(model)
            trunk.step()
            if round_ == 0:
                moment.gradients |= {name: gradients[name] for name in gradients if name.startswith("0")}
                moment.after |= {
                    name: value for name, value in replay.parameters(model).items() if name.startswith("0")
                }
            if round_ == 2:
                moment.gradients |= {name: gradients[name] for name in gradients if name.startswith("2")}
                assert all((before[name] == initial[name]).all() for name in before if name.startswith("2"))
                head.step()
                moment.after |= {
                    name: value for name, value in replay.parameters(model).items() if name.startswith("2")
                }
    assert_record(group(tmp_path / "run.zarr", "diagnostics"), 0, {"model": moment})


def test_an_optimizer_that_sits_a_record_out(tmp_path: Path) -> None:
    """Where a part of a network is not updated before the next record is due, that part alone is NaN."""
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    trunk = torch.optim.SGD(model[0].parameters(), lr=0.1)
    head = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with attach(model, optimizer=[trunk, head], store=tmp_path / "run.zarr", schedule=every(2)):
        for _ in range(5):
            model(torch.randn(6, 3)).square().mean().backward()
            trunk.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 2, 4]
    assert not np.isnan(run["gradient_norm"].sel(parameter="0.weight")).any()
    assert np.isnan(run["gradient_norm"].sel(parameter="2.weight")).all()
    assert not np.isnan(run["srank"]).any()
    assert not np.isnan(run["weight_norm"].sel(parameter="2.weight")).any()
    assert not {"network_update_to_weight_ratio", "network_gradient_norm"} & set(run)


def test_a_step_with_a_closure(tmp_path: Path) -> None:
    """Where the step computes its own gradients, the record shows those, and the closure's forward."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(8, 3)
    initial = replay.parameters(model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(inputs).square().mean()
        loss.backward()
        return loss

    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        features = {"1": replay.by_unit(model[1](model[0](inputs)), 1)}
        optimizer.step(closure)
        moment = Moment("model", features=features, initial=initial, before=initial)
        moment.gradients, moment.after = replay.gradients(model), replay.parameters(model)
    assert_record(group(tmp_path / "run.zarr", "diagnostics"), 0, {"model": moment})


class _Twice(torch.optim.SGD):
    """An optimizer of a user's, whose step calls the step of its parent class: torch runs the hooks for both."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return super().step(closure)


def test_a_step_within_a_step_counts_once(tmp_path: Path) -> None:
    """An optimizer that calls its parent's step counts one update a step, not two."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU())
    torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = _Twice(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2)) as monitor:
        for _ in range(4):
            model(torch.randn(3, 2)).sum().backward()
            optimizer.step()
        assert monitor.steps == 4
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 2]
    assert (run["update_to_weight_ratio"].sel(parameter="0.weight") > 0).all()


def test_a_step_that_fails_and_is_tried_again(tmp_path: Path) -> None:
    """After a step that raised, the record is of the one that succeeded."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fails = [True]

    def sometimes(*_: object) -> None:
        if fails.pop() if fails else False:
            raise MemoryError

    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)) as monitor:
        optimizer.register_step_pre_hook(sometimes)
        model(torch.randn(4, 2)).sum().backward()
        with pytest.raises(MemoryError):
            optimizer.step()
        optimizer.zero_grad()
        inputs = torch.randn(4, 2)
        model(inputs).square().sum().backward()
        hidden = model[1](model[0](inputs)).abs().mean(0)
        norm = float(np.linalg.norm(replay.gradients(model)["0.weight"]))
        optimizer.step()
        assert monitor.steps == 1
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0]
    np.testing.assert_allclose(run["unit_activation"].values[0], hidden.detach().numpy(), rtol=1e-5)
    assert run["gradient_norm"].sel(parameter="0.weight").item() == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("is_fused", [False, True])
def test_scaled_gradients_are_unscaled(is_fused: bool, tmp_path: Path) -> None:
    """With a gradient scaler, what is recorded is the gradient that the update is made of."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=is_fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.randn(4, 2)
    model(inputs).sum().backward()
    norm = float(np.linalg.norm(replay.gradients(model)["0.weight"]))
    optimizer.zero_grad()
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        scaler.scale(model(inputs).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["gradient_norm"].sel(parameter="0.weight").item() == pytest.approx(norm, rel=1e-5)
    assert run["update_to_weight_ratio"].sel(parameter="0.weight").item() > 0


def test_parameters_added_to_the_optimizer_later(tmp_path: Path) -> None:
    """A parameter that its optimizer takes up during training has a gradient from then on."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)):
        for number in range(3):
            if number == 2:
                optimizer.add_param_group({"params": list(model[0].parameters())})
            model(torch.randn(4, 2)).sum().backward()
            optimizer.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    found = np.isnan(run["gradient_norm"].sel(parameter="0.weight").values)
    assert found.tolist() == [True, True, False]


@pytest.mark.filterwarnings("ignore:model was updated", "ignore:no forward")
def test_parts_called_alone_are_not_measured_late(tmp_path: Path) -> None:
    """Where no forward of the whole came and one optimizer never stepped, later forwards are not taken instead."""
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "b": nn.Linear(2, 1)})
    of_a, of_b = (torch.optim.SGD(model[part].parameters(), lr=0.1) for part in "ab")
    with attach(model, optimizer=[of_a, of_b], store=tmp_path / "run.zarr", schedule=at([2, 50])):
        for _ in range(5):
            model["a"](torch.randn(4, 2)).sum().backward()
            of_a.step()
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["step"].values.tolist() == [0, 2]
    assert "srank" not in run
    assert not np.isnan(run["gradient_norm"].sel(parameter="a.0.weight")).any()
    messages = group(tmp_path / "run.zarr", "events")["message"].values
    assert "model was updated without a forward" in messages[0]
