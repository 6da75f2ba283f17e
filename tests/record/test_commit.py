"""A commit is one step: beside a writer at full speed, and whenever the writer is killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import xarray as xr

from oracles.writing import check, declare, hand_over
from plastikit.record.claim import is_claimed
from plastikit.record.dataset import open_run
from plastikit.record.place import Folder
from plastikit.record.store import RunStore

# Forked from here, a writer is at work within milliseconds: two hundred of them can be killed.
_PROCESSES = multiprocessing.get_context("fork")
_GROUPS = ("diagnostics", "training", "events")


def _write_on(path: Path, told: Connection, pause: float) -> None:
    """Write without end, and say after each commit what it made visible."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    store = RunStore(path, configuration={}, provenance={})
    layout = declare(store)
    step = 0
    while True:
        for _ in range(random.Random(step).randrange(1, 40)):
            hand_over(store, layout, step)
            step += 1
        store.commit()
        told.send([store.committed[name] for name in _GROUPS])
        time.sleep(pause)


def _start(path: Path, pause: float) -> tuple[multiprocessing.context.ForkProcess, Connection]:
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_write_on, args=(path, theirs, pause), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def test_a_reader_beside_a_writer(tmp_path: Path) -> None:
    """1,000 openings, by us and by plain xarray: whole rows, equal lengths, every value as it was written."""
    process, told = _start(tmp_path / "run.zarr", pause=0.02)
    try:
        told.recv()
        counts = []
        for opening in range(1000):
            path = tmp_path / "run.zarr"
            is_plain = opening % 20 < 2
            tree = xr.open_datatree(path, engine="zarr") if is_plain else open_run(path)
            if opening % 10 == 0:
                counts.append(check(tree)["diagnostics"])
            else:
                sizes = {name: tree["diagnostics"][name].sizes["step"] for name in ("step", "norm", "unit_activation")}
                assert len(set(sizes.values())) == 1
            while told.poll():
                told.recv()
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]
    finally:
        process.kill()
        process.join()


def test_killed_at_any_instant(tmp_path: Path) -> None:
    """200 writers killed by SIGKILL: every row that was acknowledged is there bit for bit, and the run is free."""
    generator = random.Random(0)
    seen = 0
    for number in range(200):
        path = tmp_path / f"{number}.zarr"
        process, told = _start(path, pause=0.0)
        # What it takes to commit for the first time differs from machine to machine.
        acknowledged = told.recv() if number % 4 else [0, 0, 0]
        time.sleep(generator.uniform(0.0, 0.06))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            while True:
                acknowledged = told.recv()
        except EOFError:
            pass
        if not (path / "zarr.json").exists():
            # Killed before the run was there.
            assert acknowledged == [0, 0, 0]
            continue
        found = check(open_run(path))
        assert [found[name] >= least for name, least in zip(_GROUPS, acknowledged, strict=True)] == [True] * 3
        assert check(xr.open_datatree(path, engine="zarr")) == found
        assert not is_claimed(Folder(path))
        seen += found["diagnostics"]
    assert seen > 2000


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_kept_view(tmp_path: Path, is_plain: bool) -> None:
    """A tree that was opened earlier goes on showing the rows that it was opened with."""
    path = tmp_path / "run.zarr"
    store = RunStore(path, configuration={}, provenance={})
    layout = declare(store)
    for step in range(30):
        hand_over(store, layout, step)
    store.commit()
    tree = xr.open_datatree(path, engine="zarr") if is_plain else open_run(path)
    for step in range(30, 2000):
        hand_over(store, layout, step)
    store.close()
    assert check(tree)["diagnostics"] == 30
