"""A model that is saved or copied on a due step takes nothing of the monitor along."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.watch.attach import attach
from plastikit.watch.hooks import Hook
from plastikit.watch.schedule import every

OF_THE_CLOCK = ["wall_time", "probe_seconds"]


def _model() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    optimizer.step()


def _hooks(model: nn.Module) -> list[object]:
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    ]


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    assert b"plastikit" not in file.getvalue()
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def test_a_copied_hook_does_nothing() -> None:
    """The hook calls its function; a copy and a pickled one take the same arguments and call nothing."""
    calls: list[object] = []
    hook = Hook(lambda *args: calls.append(args))
    assert hook(1, 2) is None  # type: ignore[func-returns-value]
    for other in (copy.copy(hook), copy.deepcopy(hook), pickle.loads(pickle.dumps(hook))):
        assert other(1, 2, 3) is None
    assert calls == [(1, 2)]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, _saved])
def test_a_copy_knows_nothing_of_the_watch(duplicate: object, tmp_path: Path) -> None:
    """Saved or copied on a due step, the other model trains unseen, and the record is the same as without it."""
    assert callable(duplicate)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    runs = []
    for is_copied in (False, True):
        model, optimizer = _model()
        path = tmp_path / f"{is_copied}.zarr"
        with attach(model, optimizer=optimizer, store=path, schedule=every(1)):
            for number in range(3):
                model(inputs)
                if is_copied:
                    assert _hooks(model)
                    other = duplicate(model)
                    assert not any(isinstance(hook, Hook) for hook in _hooks(other))
                    _update(other, torch.optim.SGD(other.parameters(), lr=1.0), inputs + number)
                _update(model, optimizer, inputs)
        assert _hooks(model) == []
        runs.append(group(path, "diagnostics"))
    assert runs[0].drop_vars(OF_THE_CLOCK).equals(runs[1].drop_vars(OF_THE_CLOCK))


def test_a_copied_optimizer_is_not_heard(tmp_path: Path) -> None:
    """Optimizers are copied and saved without their hooks, and steps of the copy are no updates."""
    model, optimizer = _model()
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr") as monitor:
        for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            other.step()
        assert monitor.steps == 0
        _update(model, optimizer, torch.ones(2, 3))
        assert monitor.steps == 1
