"""Whole processes: a run survives Ctrl-C, a script that never closes it, and a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from oracles.runs import group
from plastikit.record.claim import is_claimed
from plastikit.record.dataset import open_run
from plastikit.record.place import Folder

SCRIPT = """
import sys, torch
from torch import nn
from plastikit import attach, every

model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

def train(monitor, updates):
    for number in range(updates):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        monitor.step(loss=number)
        if number == 40:
            monitor._store.commit()
            print("training", flush=True)

monitor = attach(model, optimizer=optimizer, store=sys.argv[1], schedule=every(10))
"""


def _start(body: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT + body, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("body", ["with monitor: train(monitor, 10**9)", "train(monitor, 10**9)"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_training_that_is_stopped(stop: signal.Signals, body: str, tmp_path: Path) -> None:
    """Asked to end, it closes its run as interrupted, with all records; killed, the run has what was committed."""
    path = tmp_path / "run.zarr"
    process = _start(body, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.send_signal(stop)
    process.communicate(timeout=60)
    # As without a monitor.
    assert process.returncode == -stop
    tree = open_run(path)
    assert tree.attrs["state"] == ("running" if stop is signal.SIGKILL else "interrupted")
    assert not is_claimed(Folder(path))
    training, diagnostics = group(path, "training"), group(path, "diagnostics")
    updates = training.sizes["step"]
    assert updates >= 41
    assert training["loss"].values.tolist() == list(range(updates))
    # The record that was being made when it came may be a part of one.
    assert not np.isnan(diagnostics["srank"].values[:-1]).any()
    recorded = diagnostics["step"].values.tolist()
    assert recorded == list(range(0, 10 * len(recorded), 10))
    if stop is not signal.SIGKILL:
        # The update in which it came may be recorded without its scalars.
        assert recorded[-1] in range(updates - 10, updates + 1)


def test_a_script_that_ends_of_an_error(tmp_path: Path) -> None:
    """Its run has failed, says of what, and holds every record; where it is handled, the run has finished."""
    for body, state in (
        ("train(monitor, 25); 1 / 0", "failed"),
        ("train(monitor, 25); sys.exit()", "finished"),
        ("with monitor: train(monitor, 25); sys.exit(0)", "finished"),
        ("with monitor: train(monitor, 25); sys.exit('no data')", "failed"),
    ):
        path = tmp_path / f"{len(body)}.zarr"
        _start(body, path).communicate(timeout=60)
        tree = open_run(path)
        assert tree.attrs["state"] == state
        error = "SystemExit: no data" if "data" in body else "ZeroDivisionError: division by zero"
        assert tree.attrs.get("error", "") == (error if state == "failed" else "")
        assert tree["training"].sizes["step"] == 25


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("pause", [0.001, 0.01, 0.03])
def test_a_second_signal(first: signal.Signals, pause: float, tmp_path: Path) -> None:
    """Impatience does not cut the last commit short."""
    process = _start("train(monitor, 10**9)", tmp_path / "run.zarr")
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    for number in (first, signal.SIGINT, signal.SIGTERM):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        time.sleep(pause)
    process.communicate(timeout=60)
    tree = open_run(tmp_path / "run.zarr")
    assert tree.attrs["state"] == "interrupted"
    assert tree["training"]["loss"].values.tolist() == list(range(tree["training"].sizes["step"]))


def test_a_signal_that_somebody_listens_to(tmp_path: Path) -> None:
    """The user's own handler stays, and is the only one; after the last run nothing listens for us."""
    body = """
import signal
ours = signal.getsignal(signal.SIGTERM)
signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
train(monitor, 45)
monitor.close()
assert signal.getsignal(signal.SIGTERM) is not ours and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
signal.raise_signal(signal.SIGTERM)
"""
    output, errors = _start(body, tmp_path / "run.zarr").communicate(timeout=60)
    assert not errors
    assert output == "training\nmine\n"
    assert open_run(tmp_path / "run.zarr").attrs["state"] == "finished"


def test_a_script_that_never_closes_its_run(tmp_path: Path) -> None:
    """At the normal end of the interpreter its run is finished, and only by the process that it belongs to."""
    path = tmp_path / "run.zarr"
    body = """
import multiprocessing
train(monitor, 25)
child = multiprocessing.get_context("fork").Process(target=print)
child.start()
child.join()
monitor.observe(torch.ones(2, 3))
del monitor
"""
    process = _start(body, path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    tree = open_run(path)
    assert group(path, "training")["loss"].values.tolist() == list(range(25))
    assert group(path, "diagnostics")["step"].values.tolist() == [0, 10, 20, 25]
    assert tree.attrs["state"] == "finished"
