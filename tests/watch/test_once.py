"""A model has one open monitor: attached again, it closes the earlier one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit import attach, every
from plastikit.errors import StoreExistsError
from plastikit.record.dataset import read_attributes


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_a_cell_that_is_run_again(tmp_path: Path) -> None:
    """The earlier run is closed and keeps its records; nothing is hooked or recorded twice."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = attach(model, optimizer=optimizer, store=tmp_path / "first.zarr", schedule=every(1))
    hooks = _hooks(model)
    _train(model, optimizer, 3)
    second = attach(model, optimizer=optimizer, store=tmp_path / "second.zarr", schedule=every(1))
    assert _hooks(model) == hooks
    _train(model, optimizer, 2)
    first.close()
    second.close()
    assert group(tmp_path / "first.zarr", "diagnostics")["step"].values.tolist() == [0, 1, 2]
    assert group(tmp_path / "second.zarr", "diagnostics")["step"].values.tolist() == [0, 1]
    assert read_attributes(tmp_path / "first.zarr")["state"] == "finished"
    assert group(tmp_path / "first.zarr", "events")["kind"].values.tolist() == ["closed"]
    assert _hooks(model) == 0


def test_a_refused_attach_closes_nothing(tmp_path: Path) -> None:
    """Where the second attach is an error, the first monitor goes on."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)) as monitor:
        _train(model, optimizer, 1)
        with pytest.raises(StoreExistsError):
            attach(model, optimizer=optimizer, store=tmp_path / "run.zarr")
        assert monitor.is_open
        _train(model, optimizer, 1)
    assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == [0, 1]
