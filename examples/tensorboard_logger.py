"""Send every record on to TensorBoard as well: a scalar for each number, a histogram for what each unit has.

Run it with ``python examples/tensorboard_logger.py``, then look with ``tensorboard --logdir runs/tensorboard``.
It needs ``pip install tensorboard``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import plastikit
from plastikit.watch.monitor import Record

TAUS = plastikit.probes.DormantFraction().taus


class TensorBoardLogger:
    """Hand it to ``monitor.on_record``. Tags are ``variable/layer``, with the threshold where there are several."""

    def __init__(self, writer: SummaryWriter) -> None:
        self.writer = writer

    def __call__(self, record: Record) -> None:
        """Write one record at its step; what was not measured is left out."""
        for variable, by_label in record.values.items():
            for label, values in by_label.items():
                tag = f"{variable}/{label}"
                if "unit_" in variable:
                    if np.isfinite(values).any():
                        self.writer.add_histogram(tag, values[np.isfinite(values)], record.step)
                    continue
                for place, value in np.ndenumerate(values):
                    if np.isfinite(value):
                        self.writer.add_scalar("/".join((tag, *named(variable, place))), value, record.step)


def named(variable: str, place: tuple[int, ...]) -> list[str]:
    """Where a number stands along the further dimensions of its variable; dormancy ends with the threshold."""
    places = [str(position) for position in place]
    return [*places[:-1], f"tau={TAUS[place[-1]]:g}"] if place and "dormant" in variable else places


def main(store: Path) -> None:
    """Train a small network, watched, and say what TensorBoard can show of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters())
    folder = store.parent / "tensorboard"
    with (
        SummaryWriter(folder) as writer,
        plastikit.attach(model, optimizer=optimizer, store=store, schedule=plastikit.every(10)) as monitor,
    ):
        monitor.on_record(TensorBoardLogger(writer))
        for step in range(100):
            loss = model(torch.randn(64, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            writer.add_scalar("loss", loss, step)
    print(f"the record  {store}\nthe events  {folder}\nlook at it  tensorboard --logdir {folder}")
    print("tags        such as dormant_fraction/1/tau=0.025, srank/1, weight_norm/0.weight")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/tensorboard.zarr"))
