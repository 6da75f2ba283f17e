"""Whether a budget is kept: by the monitor's own ledger, and by the training's speed with and without it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from benchmarks.trainings import Training

import plastikit
from plastikit.watch.budget import Governor

FRACTION = 0.01
SECONDS = 60.0


@pytest.mark.parametrize(("width", "batch"), [(64, 128), (1024, 1280)])
def test_a_budget_of_one_percent(width: int, batch: int, tmp_path: Path) -> None:
    """A minute of training under the budget, in slices that take turns with the same training without a monitor."""
    plain, watched = Training(batch, width=width), Training(batch, width=width)
    for training in (plain, watched):
        training.run(20)
    start = time.perf_counter()
    plain.run(20)
    updates = max(1, round(20 * 0.5 / (time.perf_counter() - start)))
    monitor = plastikit.attach(
        watched.model,
        optimizer=watched.optimizer,
        store=tmp_path / "run.zarr",
        schedule=plastikit.budget(FRACTION),
    )
    governor = monitor._pace._agenda
    assert isinstance(governor, Governor)
    spent = {plain: 0.0, watched: 0.0}
    ratios: list[float] = []
    while spent[watched] < SECONDS:
        times = {}
        for training in (plain, watched) if len(ratios) % 2 else (watched, plain):
            start = time.perf_counter()
            training.run(updates)
            times[training] = time.perf_counter() - start
            spent[training] += times[training]
        # In the time of the other training this one earned nothing.
        governor._start += times[plain]
        governor._next += times[plain]
        governor._last = [last + times[plain] for last in governor._last]
        ratios.append(times[watched] / times[plain])
    ledger = monitor._ledger
    print(f"\nbudget({FRACTION}), width {width}, batch {batch}, {spent[watched]:.0f} s, {ledger.records} records")
    print(f"  share by the ledger        {100 * ledger.spent / spent[watched]:6.2f} %")
    print(f"  share by the speed, total  {100 * (spent[watched] / spent[plain] - 1):6.2f} %")
    print(f"  share by the speed, median {100 * (statistics.median(ratios) - 1):6.2f} %")
    monitor.close()
    assert ledger.records > 0
