"""What Cockpit's economy configuration costs, over the same training without it: seconds for each step.

It is not among the peers that `make bench` installs, since it needs `pkg_resources`, which setuptools has had no more
since version 81: pip install cockpit-for-pytorch 'setuptools<81'.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import partial

import pytest
import torch
from benchmarks.pairs import paired_ratios, table
from benchmarks.trainings import Training
from torch import nn

STEPS = 2

os.environ.setdefault("MPLBACKEND", "Agg")
cockpit = pytest.importorskip("cockpit", exc_type=ImportError)
backpack = pytest.importorskip("backpack")
configuration = importlib.import_module("cockpit.utils.configuration").configuration


def _watched(batch: int) -> Callable[[], None]:
    """The training of the other benchmarks, in a loop as its README writes it."""
    training = Training(batch)
    model, loss_of = backpack.extend(training.model), backpack.extend(nn.MSELoss())
    instruments = cockpit.Cockpit(model.parameters(), quantities=configuration("economy"))
    steps = iter(range(10**9))

    def run() -> None:
        for _ in range(STEPS):
            step = next(steps)
            training.optimizer.zero_grad()
            outputs = model(training.inputs)
            loss = loss_of(outputs, training.targets)
            each = nn.functional.mse_loss(outputs, training.targets, reduction="none").mean(dim=1)
            told = {"batch_size": batch, "individual_losses": each, "loss": loss, "optimizer": training.optimizer}
            with instruments(step, info=told):
                loss.backward(create_graph=instruments.create_graph(step))
            training.optimizer.step()

    return run


@pytest.mark.parametrize("batch", [1280, 128])
def test_cost_of_cockpit(batch: int, request: pytest.FixtureRequest) -> None:
    """Every step; a few of them, as each takes long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    plain = Training(batch)
    ratios = paired_ratios(
        {"no monitor": partial(plain.run, STEPS), "cockpit, economy": _watched(batch)},
        rounds=3,
    )
    print(table(f"MLP 49-400-400-400-1, Adam, batch {batch}, one thread", ratios))
    assert ratios["cockpit, economy"] > 1.0
