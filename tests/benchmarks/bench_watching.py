"""What watching costs: training with a monitor over the same training without one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from benchmarks.pairs import paired_ratios, table
from torch import nn

import plastikit
from plastikit.watch.schedule import Schedule

STEPS = 300


def _train(batch: int, watch: Callable[[nn.Module, torch.optim.Optimizer], plastikit.Monitor] | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(49, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 1)
    )
    optimizer = torch.optim.Adam(model.parameters())
    inputs, targets = torch.randn(batch, 49), torch.randn(batch, 1)
    monitor = None if watch is None else watch(model, optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    if monitor is not None:
        monitor.close()


def _watched(
    folder: Path, schedule: Schedule, probes: list[str], model: nn.Module, optimizer: torch.optim.Optimizer
) -> plastikit.Monitor:
    shutil.rmtree(folder / "run.zarr", ignore_errors=True)
    return plastikit.attach(model, optimizer=optimizer, store=folder / "run.zarr", schedule=schedule, probes=probes)


@pytest.mark.parametrize("batch", [128, 1280])
def test_cost_of_watching(batch: int, tmp_path: Path) -> None:
    """Every probe at every step, all but the ranks at every step, and the defaults, each over no monitor."""
    cheap = ["dormancy", "parameters", "gradients", "updates"]
    every_probe = [*cheap, "rank"]
    watch = partial(partial, _watched, tmp_path)
    ratios = paired_ratios(
        {
            "no monitor": partial(_train, batch, None),
            "defaults (every 100 steps)": partial(_train, batch, watch(plastikit.every(100), every_probe)),
            "all but ranks, every step": partial(_train, batch, watch(plastikit.every(1), cheap)),
            "all probes, every step": partial(_train, batch, watch(plastikit.every(1), every_probe)),
        },
        rounds=3,
    )
    print(table(f"MLP 49-400-400-400-1, Adam, batch {batch}, {STEPS} steps, start and close included", ratios))
    assert ratios["no monitor"] == 1.0
