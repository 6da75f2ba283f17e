"""A budget is kept, used, and shared between cheap probes and costly ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.probes import PROBES
from plastikit.record.dataset import open_run
from plastikit.watch import budget as module_of_budget
from plastikit.watch import ledger as module_of_ledger
from plastikit.watch.attach import attach
from plastikit.watch.budget import Governor
from plastikit.watch.ledger import Ledger
from plastikit.watch.probe import Probe
from plastikit.watch.schedule import budget, every

CAPTURE, STORE = 0.5e-3, 0.1e-3
PROBES_OF_A_RUN: list[Probe] = [PROBES[name]() for name in ("dormancy", "parameters", "rank")]
CHEAP, ALSO_CHEAP, COSTLY = 0.2e-3, 0.3e-3, 20e-3


@dataclass
class Training:
    """A training on a clock that goes by what things are said to cost."""

    fraction: float
    now: float = 100.0
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    steps: list[int] = field(default_factory=list)
    share: float = 0.0

    def run(self, updates: int, seconds: float, slow: int | None = None) -> Training:
        """Train, each update for ``seconds``; the record with the number ``slow`` takes a second longer."""
        ledger, start = Ledger(3), self.now
        governor = Governor(self.fraction, PROBES_OF_A_RUN, ledger)
        for step in range(updates):
            due = governor.everything if step == 0 else governor(step)
            self.now += seconds
            if due is None:
                continue
            began, apart = self.now, ledger.apart
            taken = np.full(3, np.nan, dtype=np.float32)
            for place, _ in due.probes:
                taken[place] = (CHEAP, ALSO_CHEAP, COSTLY)[place] + (1.0 if len(self.steps) == slow else 0.0) / 3
                self.counts[place] += 1
                self.now += float(taken[place])
                ledger.charge_probes(float(taken[place]))
            self.now += CAPTURE
            ledger.charge_capture(began, apart)
            ledger.close_record(taken)
            began = self.now
            self.now += STORE
            ledger.charge_store(began)
            self.steps.append(step)
        self.share = ledger.spent / (self.now - start)
        return self


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    """A training under a budget of 1 %, and everyone's clock its own."""
    simulated = Training(0.01)
    for module in (module_of_budget, module_of_ledger):
        monkeypatch.setattr(module, "perf_counter", lambda: simulated.now)
    return simulated


@pytest.mark.parametrize("seconds", [0.3e-3, 5e-3, 0.5])
def test_the_budget_is_kept_and_used(training: Training, seconds: float) -> None:
    """Whatever an update takes, watching takes at most its share; and most of that where updates are not rare."""
    training.run(round(200 / seconds), seconds)
    assert training.share <= 0.01
    assert training.share > (0.006 if seconds < 0.1 else 0.002)
    assert training.steps[0] == 0


def test_cheap_probes_run_at_each_record_and_costly_ones_now_and_then(training: Training) -> None:
    """Each half of the budget is spent on its own: the costly probe takes no more than the cheap ones together."""
    training.run(40_000, 5e-3)
    first, second, costly = training.counts
    assert first == second == len(training.steps)
    assert first > 5 * costly > 0
    assert costly * COSTLY < 0.005 * 200 * 1.1


def test_step_zero_is_paid_for(training: Training) -> None:
    """The record at step 0, with every probe, comes first; the next waits until training has earned it."""
    training.run(2_000, 5e-3)
    of_step_zero = CHEAP + ALSO_CHEAP + COSTLY + CAPTURE + STORE
    assert training.steps[1] * 5e-3 == pytest.approx(of_step_zero / 0.01, rel=0.02)


def test_one_slow_record_does_not_thin_out_all_that_follow(training: Training) -> None:
    """What a slow record took is made up for, and the pace after that is the one before."""
    training.run(60_000, 5e-3, slow=20)
    gaps = np.diff(training.steps)
    assert training.share <= 0.01
    assert gaps.max() * 5e-3 > 50
    assert np.median(gaps[-30:]) == pytest.approx(np.median(gaps[2:19]), rel=0.1)


def test_a_pause_is_not_made_up_for(training: Training) -> None:
    """After a pause, such as an evaluation, records do not come at every step until its share is spent."""
    ledger = Ledger(3)
    governor = Governor(0.5, PROBES_OF_A_RUN, ledger)
    start = training.now
    training.now += 1e-3
    ledger.charge_capture(start, ledger.apart)
    ledger.close_record(np.full(3, 1e-3, dtype=np.float32))
    training.now += 1000.0
    assert governor(1) is not None
    training.now += 1e-3
    assert governor(2) is None


def test_a_training_under_a_budget(tmp_path: Path) -> None:
    """On the real clock: the share is kept, a probe that was left out is NaN, and the run says its schedule.

    A record that a loaded machine holds up takes more than its share; the training then goes on until that is paid.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.randn(256, 8)
    path = tmp_path / "run.zarr"
    with attach(model, optimizer=optimizer, store=path, schedule=budget(0.2), probes=PROBES_OF_A_RUN) as monitor:
        start = time.perf_counter()
        while time.perf_counter() - start < 2:
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
        share = monitor._ledger.spent / (time.perf_counter() - start)
    assert 0.02 < share < 0.25
    run = group(path, "diagnostics")
    assert run["step"].values[0] == 0
    assert run.sizes["step"] > 2
    seconds = run["probe_seconds"]
    assert list(seconds["probe"].values) == ["dormancy", "parameters", "rank", "capture", "store"]
    assert (seconds.sel(probe="capture") > 0).all()
    was_run = np.isfinite(seconds.sel(probe="rank").values)
    np.testing.assert_array_equal(np.isfinite(run["srank"].isel(layer=0).values), was_run)
    watching = open_run(path).attrs["watching"]
    assert watching["schedule"] == "Budget(fraction=0.2)"
    assert list(watching["probes"]) == ["dormancy", "parameters", "rank"]


def test_every_schedule_stores_what_its_probes_cost(tmp_path: Path) -> None:
    """The seconds of each record add up to less than the training took; the store's stand from the second on."""
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    start = time.perf_counter()
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(2)):
        for _ in range(9):
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()
    elapsed = time.perf_counter() - start
    seconds = group(tmp_path / "run.zarr", "diagnostics")["probe_seconds"]
    assert seconds.attrs["units"] == "s"
    assert np.isnan(seconds.sel(probe="store").values[0])
    assert (seconds.values[1:] > 0).all()
    assert 0 < np.nansum(seconds.values) < elapsed


def test_nobody_asks_while_nothing_can_be_afforded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With seconds to wait it need not be asked for some steps, but soon again; with nothing to wait for, at once."""
    now = [100.0]
    monkeypatch.setattr(module_of_budget, "perf_counter", lambda: now[0])
    governor = Governor(0.01, PROBES_OF_A_RUN, Ledger(3))
    now[0] += 0.001
    assert governor.quiet_until(1) == 1
    governor._next = now[0] + 3.0
    now[0] += 0.001
    assert governor.quiet_until(2) == 2 + 32
    now[0] += 0.032
    governor._next = now[0] + 0.011
    assert governor.quiet_until(34) == 34 + 5
