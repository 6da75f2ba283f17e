"""Whether memory grows with the number of records."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import torch
from torch import nn

import plastikit

RECORDS = 10_000


def _resident() -> int:
    """Bytes of memory that the process holds."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("this system does not say how much memory a process holds")


def test_no_growth_over_many_records(tmp_path: Path) -> None:
    """Between the first thousand records and the last, memory stays what it was."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters())
    inputs = torch.randn(32, 8)
    marks = []
    with plastikit.attach(
        model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=plastikit.every(1, costly=5)
    ) as monitor:
        for number in range(1, RECORDS + 1):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
            if number == 1_000:
                tracemalloc.start()
            if number in {1_024, RECORDS}:
                monitor._store.commit()
                gc.collect()
                marks.append((tracemalloc.get_traced_memory()[0], _resident()))
    tracemalloc.stop()
    traced, resident = (after - before for before, after in zip(*marks, strict=True))
    print(f"\n{RECORDS} records: {traced / 1e6:+.2f} MB of Python's objects, {resident / 1e6:+.1f} MB resident")
    assert traced < 1e6
    assert resident < 30e6
