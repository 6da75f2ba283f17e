"""Attach plastikit to a model of your own: an MLP on a stream of changing regression tasks.

Run it with ``python examples/attach.py``. It writes ``runs/attach.zarr`` and prints how the share of dormant units, the
feature rank and the weights change from task to task.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

import plastikit

TASKS = 8
STEPS_PER_TASK = 250


def main(store: Path) -> None:
    """Train on one random target function after another, watched, and show what happened."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    with plastikit.attach(model, optimizer=optimizer, store=store, schedule=plastikit.every(50)) as monitor:
        for task in range(TASKS):
            target = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1)).requires_grad_(requires_grad=False)
            monitor.event("task", f"target function {task}")
            for _ in range(STEPS_PER_TASK):
                inputs = torch.randn(128, 16)
                loss = nn.functional.mse_loss(model(inputs), target(inputs))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            monitor.step(loss=loss)

    run = plastikit.open_run(store)
    found = run["diagnostics"].to_dataset()
    print("step  dormant (tau 0.1)  srank of layer 2  weight norm")
    for step in found.step.values[:: STEPS_PER_TASK // 50]:
        at = found.sel(step=step)
        dormant = float(at.network_dormant_fraction.sel(tau=0.1, network="model"))
        rank, norm = float(at.srank.isel(layer=1)), float(at.network_weight_norm.sel(network="model"))
        print(f"{step:4d}  {dormant:17.3f}  {rank:16.0f}  {norm:11.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/attach.zarr"))
