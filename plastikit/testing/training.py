"""A short training, with a probe and without: the two end alike."""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from plastikit.schema import OBSERVED
from plastikit.watch.attach import attach
from plastikit.watch.look import measure
from plastikit.watch.monitor import Monitor
from plastikit.watch.probe import Probe
from plastikit.watch.schedule import every

_STEPS: Final = 12
_SEED: Final = 7


def differences(probe: Probe) -> Iterable[str]:
    """What of a training's outcome is another once the probe watches it; and a monitor that records nothing of it."""
    alone, _ = _train(None)
    watched, seen = _train(probe)
    for part, value in watched.items():
        if value != alone[part]:
            yield f"the {part} of a training are not those of the same training without it"
    variables = {definition.variable for definition in probe.definitions}
    if not {name.removeprefix(OBSERVED) for name in seen} & variables:
        yield "a monitor recorded nothing of it in a training with groups, Adam, losses told and a batch to observe"


def _train(probe: Probe | None) -> tuple[dict[str, Any], set[str]]:
    """All that watching could change, as plain values; and the variables that were recorded."""
    seen: set[str] = set()
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  the state others draw from
    try:
        torch.manual_seed(_SEED)
        np.random.seed(_SEED)  # noqa: NPY002
        random.seed(_SEED)
        model = nn.Sequential(
            nn.Linear(6, 16),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Unflatten(1, (2, 8)),
            nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=12, batch_first=True),
            nn.Flatten(),
            nn.Linear(16, 8),
            nn.Tanh(),
            nn.Linear(8, 1),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if probe is None:
            _steps(model, optimizer, None)
        else:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with attach(
                    model,
                    optimizer=optimizer,
                    store=Path(folder) / "run.zarr",
                    probes=[probe],
                    schedule=every(3),
                    groups=_groups,
                ) as monitor:
                    monitor.on_record(lambda record: seen.update(record.values))
                    _steps(model, optimizer, monitor)
                    measure(model, torch.ones(4, 6), probes=[probe])
        return _outcome(model, optimizer), seen
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, monitor: Monitor | None) -> None:
    for _ in range(_STEPS):
        optimizer.zero_grad()
        inputs = torch.randn(16, 6) + random.random() + np.random.random()  # noqa: NPY002
        losses = (model(inputs) - 3).square()
        if monitor is not None:
            monitor.losses(losses, _groups(inputs))
        losses.mean().backward()
        optimizer.step()
        if monitor is not None:
            monitor.observe(torch.ones(5, 6))


def _groups(inputs: Tensor) -> Tensor:
    return torch.arange(len(inputs)) % 2


def _outcome(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = optimizer.state_dict()["state"]
    return {
        "weights and buffers": {name: value.tolist() for name, value in model.state_dict().items()},
        "gradients": [value.grad.tolist() for value in model.parameters() if value.grad is not None],
        "optimizer's states": [
            {name: value.tolist() if isinstance(value, Tensor) else value for name, value in entry.items()}
            for entry in state.values()
        ],
        "random states": (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()),  # noqa: NPY002
        "modes": [module.training for module in model.modules()],
    }
