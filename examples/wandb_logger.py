"""Send every record on to Weights & Biases as well: a value for each number, a histogram for what each unit has.

Run it with ``python examples/wandb_logger.py``: nothing leaves your machine, as the run is offline. ``wandb sync``
sends it, or take ``mode="offline"`` away. It needs ``pip install wandb``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wandb
from torch import nn

import plastikit
from plastikit.watch.monitor import Record

STEP = "plastikit/step"
TAUS = plastikit.probes.DormantFraction().taus


class WandbLogger:
    """Hand it to ``monitor.on_record``. Names are ``plastikit/variable/layer``, the threshold added."""

    def __init__(self, run: Any) -> None:
        self.run = run
        # An axis of its own: W&B drops what is logged at a step smaller than the last, and your own calls count too.
        run.define_metric(STEP)
        run.define_metric("plastikit/*", step_metric=STEP)

    def __call__(self, record: Record) -> None:
        """Log one record at its step; what was not measured is left out."""
        found: dict[str, Any] = {STEP: record.step}
        for variable, by_label in record.values.items():
            for label, values in by_label.items():
                name = f"plastikit/{variable}/{label}"
                if "unit_" in variable:
                    if np.isfinite(values).any():
                        found[name] = wandb.Histogram(values[np.isfinite(values)].tolist())
                    continue
                for place, value in np.ndenumerate(values):
                    if np.isfinite(value):
                        found["/".join((name, *named(variable, place)))] = float(value)
        self.run.log(found)


def named(variable: str, place: tuple[int, ...]) -> list[str]:
    """Where a number stands along the further dimensions of its variable; dormancy ends with the threshold."""
    places = [str(position) for position in place]
    return [*places[:-1], f"tau={TAUS[place[-1]]:g}"] if place and "dormant" in variable else places


def main(store: Path) -> None:
    """Train a small network, watched, and say where the run lies."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters())
    store.parent.mkdir(parents=True, exist_ok=True)
    with (
        wandb.init(project="plastikit", mode="offline", dir=store.parent) as run,
        plastikit.attach(model, optimizer=optimizer, store=store, schedule=plastikit.every(10)) as monitor,
    ):
        monitor.on_record(WandbLogger(run))
        for _ in range(100):
            loss = model(torch.randn(64, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss.item()})
        print(f"the record  {store}\nthe run     {run.dir}\nsend it     wandb sync {Path(run.dir).parent}")
        print("names       such as plastikit/dormant_fraction/1/tau=0.025, plastikit/srank/1")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/wandb.zarr"))
