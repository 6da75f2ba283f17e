"""What storing costs: a real MT10 run's rows beside the same arrays written whole by Zarr, and the training's share."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import plastikit
from plastikit.record.place import Folder
from plastikit.record.store import RunStore
from plastikit.record.table import Layout, Table
from plastikit.train.config import TrainingConfig
from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE
from plastikit.train.replay import Batch
from plastikit.train.sac import SoftActorCritic
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import Schedule

RECORDS = 10_000
MEASURED = 40
"""Records that are really measured; the others repeat them with noise of a thousandth, which hardly compresses."""

TASKS, SAMPLES = 10, 128


@contextmanager
def _training(path: Path, schedule: Schedule) -> Iterator[tuple[SoftActorCritic, Monitor]]:
    """The actor and both critics of MT10 at width 400, watched by every default probe."""
    agent = SoftActorCritic(TrainingConfig(), observation_size=OBSERVATION_SIZE, action_size=ACTION_SIZE)
    with plastikit.attach(
        {"actor": agent.actor, "critic_0": agent.critics[0], "critic_1": agent.critics[1]},
        optimizer={"actor": agent.actor_optimizer, "critic": agent.critic_optimizer},
        store=path,
        schedule=schedule,
    ) as monitor:
        yield agent, monitor


def _batch() -> Batch:
    return Batch(
        observation=torch.randn(TASKS, SAMPLES, OBSERVATION_SIZE),
        action=torch.rand(TASKS, SAMPLES, ACTION_SIZE) * 2 - 1,
        reward=torch.rand(TASKS, SAMPLES),
        terminated=torch.zeros(TASKS, SAMPLES),
        next_observation=torch.randn(TASKS, SAMPLES, OBSERVATION_SIZE),
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, list[dict[str, Any]]]:
    """The table of such a run, and its measured rows: what ``RunStore.append`` is handed."""
    handed: list[dict[str, Any]] = []
    with _training(tmp_path_factory.mktemp("store") / "run.zarr", plastikit.every(1)) as (agent, monitor):
        append = monitor._store.append  # type: ignore[union-attr]

        def keep(group: str, index: int, values: Any, packed: Any = None) -> None:
            if group == "diagnostics":
                handed.append({"values": values, "packed": packed})
            append(group, index, values, packed)

        monitor._store.append = keep  # type: ignore[union-attr,method-assign]
        for _ in range(MEASURED):
            agent.update(_batch())
        table = monitor._store.table("diagnostics")  # type: ignore[union-attr]
    return table, handed[1:]


def _noisy(handed: list[dict[str, Any]]) -> list[tuple[dict[str, Any], tuple[Layout, Any]]]:
    generator = np.random.default_rng(0)
    noisy = []
    for record in range(RECORDS):
        row = handed[record % len(handed)]
        layout, numbers = row["packed"]
        noise = 1 + 1e-3 * generator.standard_normal(len(numbers), dtype=np.float32)
        noisy.append((row["values"], (layout, numbers * noise)))
    return noisy


def _store(path: Path, table: Table) -> RunStore:
    store = RunStore(path, configuration={}, provenance={})
    ours = store.table("diagnostics")
    for dim, axis in table.axes.items():
        ours.extend_axis(dim, axis)
    for name, column in table.columns.items():
        ours.declare(name, column)
    return store


def _write_whole(path: Path, data: xr.Dataset) -> None:
    root = zarr.create_group(path)
    for name, variable in data.variables.items():
        values = variable.values.astype(np.int64) if variable.dtype.kind == "M" else variable.values
        if values.dtype.kind != "O":
            root.create_array(str(name), data=values)


def test_speed_and_size(rows: tuple[Table, list[dict[str, Any]]], tmp_path: Path) -> None:
    """10,000 records handed over as fast as it goes, and the arrays that come of it written whole by Zarr."""
    table, handed = rows
    noisy = _noisy(handed)
    ours, theirs = [], []
    for number in range(3):
        start = time.perf_counter()
        store = _store(tmp_path / "run.zarr", table)
        for step, (values, packed) in enumerate(noisy):
            store.append("diagnostics", step, values, packed)
        store.close()
        ours.append(time.perf_counter() - start)
        assert store.committed["diagnostics"] == RECORDS
        data = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"].to_dataset().load()
        start = time.perf_counter()
        _write_whole(tmp_path / "whole.zarr", data)
        theirs.append(time.perf_counter() - start)
        size, whole = (sum(Folder(tmp_path / f"{name}.zarr").sizes().values()) for name in ("run", "whole"))
        if number < 2:
            shutil.rmtree(tmp_path / "run.zarr")
        shutil.rmtree(tmp_path / "whole.zarr")
    ratio = statistics.median(mine / its for mine, its in zip(ours, theirs, strict=True))
    nbytes = sum(array.nbytes for array in data.variables.values()) / 1e6
    print(f"\n{RECORDS} records of MT10 at width 400, {len(data.variables)} variables, {nbytes:.0f} MB of values")
    print(f"  ours {statistics.median(ours):.2f} s, Zarr's own, whole {statistics.median(theirs):.2f} s: {ratio:.2f} ×")
    print(f"  ours {size / 1e6:.1f} MB, Zarr's own {whole / 1e6:.1f} MB: {size / whole:.3f} ×")
    assert ratio < 2
    assert size < 1.15 * whole


def test_handing_over(rows: tuple[Table, list[dict[str, Any]]], tmp_path: Path) -> None:
    """What a record costs the thread that trains, and the writer beside it at ten records a second."""
    table, handed = rows
    noisy = _noisy(handed)[:400]
    store = _store(tmp_path / "run.zarr", table)
    writer = time.pthread_getcpuclockid(store._writer._thread.ident or 0)
    taken = []
    for step, (values, packed) in enumerate(noisy):
        start = time.perf_counter()
        store.append("diagnostics", step, values, packed)
        taken.append(time.perf_counter() - start)
        time.sleep(0.1)
    share = time.clock_gettime(writer) / (0.1 * len(noisy))
    store.close()
    print(
        f"\nto the writer: median {1e3 * statistics.median(taken):.3f} ms, 99 % {1e3 * np.quantile(taken, 0.99):.3f} ms"
    )
    print(f"the writer, at 10 records a second: {100 * share:.2f} % of a core")
    assert statistics.median(taken) < 0.3e-3
    assert share < 0.02


def test_the_training_thread(tmp_path: Path) -> None:
    """From the probes' tensors to the writer, as the run itself says: the entry ``store`` of ``probe_seconds``."""
    with _training(tmp_path / "run.zarr", plastikit.every(1)) as (agent, _):
        for _ in range(60):
            agent.update(_batch())
    seconds = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["probe_seconds"]
    taken = 1e3 * seconds.sel(probe="store").values[10:]
    print(f"\na record of MT10 at width 400, from tensors to the writer: median {np.median(taken):.3f} ms")
    assert np.median(taken) < 2
