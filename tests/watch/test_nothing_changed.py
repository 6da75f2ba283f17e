"""A model that trains under watch ends bit-identical to one that does not, and no hook is left."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks

from plastikit.probes import PROBES
from plastikit.watch.attach import attach
from plastikit.watch.look import Probes, measure
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import every


def _build() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(36, 16), nn.RReLU(), nn.Dropout(0.1), nn.Linear(16, 1),
    )  # fmt: skip
    model[1].eval()
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True)


def _seed() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All that watching could change, as plain values."""
    return {
        "weights": {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        "gradients": {
            name: tensor.grad.tolist() for name, tensor in model.named_parameters() if tensor.grad is not None
        },
        "optimizer": [
            {name: value.tolist() if isinstance(value, Tensor) else value for name, value in state.items()}
            for state in optimizer.state_dict()["state"].values()
        ],
        "modes": [module.training for module in model.modules()],
        "versions": [tensor._version for tensor in (*model.parameters(), *model.buffers())],
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
    }


def _hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    of_modules = sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )
    of_parameters = sum(len(tensor._backward_hooks or ()) for tensor in model.parameters())
    return (
        of_modules
        + of_parameters
        + len(optimizer._optimizer_step_pre_hooks)
        + len(optimizer._optimizer_step_post_hooks)
    )


def _train(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, monitor: Monitor | None, *, looks: bool = False
) -> list[float]:
    losses = []
    for number in range(60):
        inputs = torch.randn(12, 2, 8) + random.random() + np.random.random()
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        if monitor is not None and looks:
            monitor.observe(torch.full((5, 2, 8), float(number)))
            measure(model, torch.ones(3, 2, 8))
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss=loss)
            monitor.event("note", "nothing")
        losses.append(loss.item())
    return losses


def _unwatched() -> tuple[dict[str, Any], list[float]]:
    model, optimizer = _build()
    _seed()
    losses = _train(model, optimizer, None)
    return _state(model, optimizer), losses


_ALONE: list[Probes] = [[name] for name in PROBES]


@pytest.mark.parametrize(
    ("probes", "looks"),
    [*((probes, False) for probes in ("default", *_ALONE)), ("default", True), (["dormancy"], True), (["rank"], True)],
    ids=str,
)
def test_bit_identical(probes: Probes, looks: bool, tmp_path: Path) -> None:
    """Weights, buffers, gradients, optimizer and random state, modes, losses: with one probe or all, looking or not."""
    model, optimizer = _build()
    hooks = _hooks(model, optimizer)
    _seed()
    with attach(
        model,
        optimizer=optimizer,
        store=tmp_path / "run.zarr",
        probes=probes,
        schedule=every(7),
        groups=lambda inputs: (inputs[:, 0, 0] > 0).long(),
    ) as monitor:
        losses = _train(model, optimizer, monitor, looks=looks)
    state, unwatched = _state(model, optimizer), _unwatched()
    assert {key for key, value in state.items() if value != unwatched[0][key]} == set()
    assert losses == unwatched[1]
    assert _hooks(model, optimizer) == hooks


def test_hooks_are_there_on_due_steps_alone(tmp_path: Path) -> None:
    """Between due steps the modules have no hook; after closing, not even the optimizer has."""
    model, optimizer = _build()
    counts = []
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(3)):
        for _ in range(6):
            counts.append(_hooks(model, optimizer) - 1)
            model(torch.ones(4, 2, 8)).sum().backward()
            optimizer.step()
    assert [count > 0 for count in counts] == [True, False, False, True, False, False]
    assert {count for count in counts if count <= 0} == {0}
    assert _hooks(model, optimizer) == 0
    assert not _global_optimizer_post_hooks


def test_no_hook_is_left_after_an_error(tmp_path: Path) -> None:
    """An error in the training, even in the middle of a forward, leaves no hook behind."""
    model, optimizer = _build()
    with pytest.raises(RuntimeError), attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        model(torch.ones(4, 3, 8))
    assert _hooks(model, optimizer) == 0


def test_the_graph_survives_watching(tmp_path: Path) -> None:
    """Second derivatives go through a watched forward as through any other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(5, 3, requires_grad=True)
    found = []
    for is_watched in (False, True):
        watching = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr") if is_watched else nullcontext()
        with watching:
            (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
            found.append(torch.autograd.grad(slope.square().sum(), model.get_parameter("0.weight"))[0])
            if is_watched:
                optimizer.step()
    assert found[0].equal(found[1])
