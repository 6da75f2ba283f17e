"""A small model that something may happen to in the middle of a watched step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import plastikit
from plastikit import every
from zoo.reckoning import probes


class Small(nn.Module):
    """Something may happen in the middle of its forward."""

    is_failing: Any = False

    def __init__(self, between: Any = lambda _model, hidden: hidden) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.out = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1)
        self.between = between

    def forward(self, given: Tensor) -> Tensor:
        """Called by torch."""
        return self.out(torch.tanh(self.between(self, self.act(self.first(given)))))

    def features(self, given: Tensor) -> Tensor:
        """What goes into the head."""
        return torch.tanh(torch.relu(self.first(given)))


def batch(number: int) -> Tensor:
    """Twelve samples."""
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(number))


def recorded(path: Path, step: int, label: str) -> xr.Dataset:
    """What was recorded of one layer."""
    diagnostics = plastikit.open_run(path)["diagnostics"].to_dataset().load().sel(step=step)
    position = list(diagnostics["layer"].values).index(label)
    return diagnostics.isel(unit=np.flatnonzero(diagnostics["unit_layer"].values == position))


def assert_features(path: Path, step: int, label: str, features: Tensor) -> None:
    """The units' activations at ``step`` are those of these features."""
    found = recorded(path, step, label)["unit_activation"].values
    np.testing.assert_allclose(found, features.detach().abs().mean(dim=0).numpy(), rtol=1e-5, err_msg=label)


def watched(model: nn.Module, path: Path, **options: Any) -> tuple[plastikit.Monitor, torch.optim.Optimizer]:
    """A monitor of every step, and the optimizer that it listens to."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"schedule": every(1), "probes": probes()} | options
    return plastikit.attach(model, optimizer=optimizer, store=path, **options), optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer, given: Tensor) -> Tensor:
    """One update; the features that the head was given before it."""
    features = model.features(given).detach()
    optimizer.zero_grad()
    model(given).square().mean().backward()
    optimizer.step()
    return features
