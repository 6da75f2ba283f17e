"""What the training's own work on a device takes is no cost of a record."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from plastikit.watch.attach import attach
from plastikit.watch.devices import wait_for_training
from plastikit.watch.schedule import every

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

WAITING = ("capture", "compiled", "journal", "pace")
"""Modules that wait before they look."""
COUNTING = (*WAITING, "budget", "hooks", "ledger", "recorder")
"""Modules that look at the clock."""


class _Device:
    """Stands for one to which the training hands a minute of work, and that is waited for."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_busy = False
        self.waits = 0
        for name in COUNTING:
            patch.setattr(sys.modules[f"plastikit.watch.{name}"], "perf_counter", self.now)
        for name in WAITING:
            patch.setattr(sys.modules[f"plastikit.watch.{name}"], "wait_for_training", self.wait)

    def now(self) -> float:
        return time.perf_counter() + 60 * self.waits

    def work(self, *_: object) -> None:
        self.is_busy = True

    def wait(self, _values: object) -> None:
        self.waits += self.is_busy
        self.is_busy = False


@pytest.mark.parametrize("is_compiled", [False, True])
def test_waiting_for_the_training_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_compiled: bool
) -> None:
    """Wherever a record asks a device after the training did, its work is waited for, and counted nowhere."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.Adam(model.parameters())
    if is_compiled:
        model.compile(backend="eager")
    device = _Device(monkeypatch)
    seconds: list[float] = []
    groups = torch.arange(12) % 3
    with attach(
        model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2), groups=lambda _inputs: groups
    ) as monitor:
        optimizer.register_step_pre_hook(device.work)
        monitor.on_record(
            lambda record: seconds.extend(float(each) for each in record.values["probe_seconds"].values())
        )
        for _ in range(4):
            device.work()
            losses = model(torch.randn(12, 4)).square().mean(dim=1)
            device.work()
            monitor.losses(losses, groups=groups)
            optimizer.zero_grad()
            losses.mean().backward()
            device.work()
            optimizer.step()
        # At each of two records before the forward, the losses, what precedes the update, and the update.
        assert device.waits == 2 * 4
        assert 0 < monitor._ledger.spent < 60
    assert len(seconds) > 4
    assert max(seconds) < 60


def test_nobody_waits_for_the_host() -> None:
    """Tensors on the host, and what is no tensor, start no device."""
    wait_for_training([torch.ones(2), None, [1, 2]])
    assert not torch.cuda.is_initialized()


@needs_cuda
def test_work_that_a_device_has_left_is_not_counted(tmp_path: Path) -> None:
    """A record that comes behind a long queue costs what it costs without one."""
    model = nn.Linear(64, 64).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    work = torch.randn(8192, 8192, device="cuda")
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)) as monitor:
        spent = []
        for is_busy in (False, False, True, True):
            before = monitor._ledger.spent
            product: Tensor = work
            for _ in range(50 if is_busy else 0):
                product = product @ work / 100
            model(torch.randn(8, 64, device="cuda")).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            spent.append(monitor._ledger.spent - before)
    start = time.perf_counter()
    for _ in range(50):
        product = product @ work / 100
    torch.cuda.synchronize()
    assert spent[3] < spent[1] + 0.5 * (time.perf_counter() - start)
