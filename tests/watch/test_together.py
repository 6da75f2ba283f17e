"""Processes that train one network leave one record, as if one process had trained it on all their batches."""

from __future__ import annotations

import os
import time
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from oracles import together as oracle
from oracles.runs import group
from plastikit.errors import ConfigurationError, NotTogetherError
from plastikit.record.dataset import open_run
from plastikit.watch import together
from plastikit.watch.attach import attach
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import at, budget, every

KINDS = ("perceptron", "convolutions", "accumulation", "expert")


def _watch(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, kind: str) -> Monitor:
    groups = oracle.task_of if kind == "convolutions" else None
    return attach(model, optimizer=optimizer, store=path, schedule=every(1), groups=groups)


def _wrapped(kind: str) -> tuple[DistributedDataParallel, torch.optim.Optimizer]:
    model = DistributedDataParallel(oracle.build(kind), find_unused_parameters=kind == "expert")
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def _sharded(kind: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = oracle.build(kind)
    mesh = init_device_mesh("cpu", (oracle.PROCESSES,))
    fully_shard(next(model.children()), mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def _train_one(rank: int, folder: Path, kind: str) -> None:
    """The same training in one process; a network that is not distributed is watched and written by each."""
    model = oracle.build(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with _watch(model, optimizer, folder / f"{kind}.one.{rank}.zarr", kind) as monitor:
        oracle.train(model, optimizer, kind, [0, 1])
        monitor.observe(oracle.batch(kind, 9, 0, 0))


def _train_wrapped(rank: int, folder: Path) -> None:
    for kind in KINDS:
        model, optimizer = _wrapped(kind)
        oracle.train(model, optimizer, kind, [rank], unsynced=model.no_sync)
        expected = oracle.state(model, optimizer)
        model, optimizer = _wrapped(kind)
        heard: list[int] = []
        with _watch(model, optimizer, folder / f"{kind}.{rank}.zarr", kind) as monitor:
            monitor.on_record(lambda record, heard=heard: heard.append(record.step))  # type: ignore[misc]
            oracle.train(model, optimizer, kind, [rank], unsynced=model.no_sync)
            monitor.step(loss=1.0)
            monitor.evaluation(success={"reach": 0.5})
            monitor.event("note", "half way")
            monitor.observe(oracle.batch(kind, 9, 0, rank))
        assert oracle.state(model, optimizer) == expected
        assert heard == ([0, 1, 2, 3, 4] if rank == 0 else [])
        monitor.close()
        _train_one(rank, folder, kind)


def _train_sharded(rank: int, folder: Path) -> None:
    for kind in ("perceptron", "convolutions"):
        model, optimizer = _sharded(kind)
        oracle.train(model, optimizer, kind, [rank])
        expected = oracle.state(model, optimizer)
        model, optimizer = _sharded(kind)
        inputs = oracle.batch(kind, 9, 0, rank)
        with torch.no_grad():
            # Leaves the outer module's parameters as a forward needs them.
            model(*inputs)
        with _watch(model, optimizer, folder / f"{kind}.{rank}.zarr", kind) as monitor, warnings.catch_warnings():
            warnings.simplefilter("error")
            oracle.train(model, optimizer, kind, [rank])
            monitor.observe(inputs)
            monitor.close()
        model.reshard()  # type: ignore[operator]  # fully_shard has given it the method
        assert oracle.state(model, optimizer) == expected
        _train_one(rank, folder, kind)


def _compare(path: Path, other: Path) -> None:
    """Every value of two runs, apart from times; numbers that are whole must be the same."""
    found, expected = group(path, "diagnostics"), group(other, "diagnostics")
    assert set(found.variables) == set(expected.variables)
    for name in set(found.data_vars) - {"probe_seconds"}:
        known = {dim: index for dim, index in found.indexes.items() if dim in found[name].dims}
        value, wanted = found[name].values, expected[name].sel(known).values
        assert not np.isnan(wanted).all(), name
        is_whole = np.array_equal(wanted % 1, 0 * wanted, equal_nan=True)
        np.testing.assert_allclose(
            value, wanted, rtol=0 if is_whole else 1e-5, atol=0 if is_whole else 1e-7, err_msg=str(name)
        )


def test_distributed_data_parallel(tmp_path: Path) -> None:
    """Two processes with batches of different sizes: one run, every value that of one process on the joined batch.

    Layers that one of them never ran, groups, accumulated gradients; weights in both bit-identical without a monitor.
    """
    oracle.run(_train_wrapped, tmp_path)
    for kind in KINDS:
        assert not (tmp_path / f"{kind}.1.zarr").exists()
        _compare(tmp_path / f"{kind}.0.zarr", tmp_path / f"{kind}.one.0.zarr")
        _compare(tmp_path / f"{kind}.one.1.zarr", tmp_path / f"{kind}.one.0.zarr")
        tree = open_run(tmp_path / f"{kind}.0.zarr")
        assert tree.attrs["state"] == "finished"
        assert tree["evaluation"]["success"].sel(task="reach").values.tolist() == [0.5]
        assert "half way" in tree["events"]["message"].values


def test_fully_shard(tmp_path: Path) -> None:
    """Parameters that lie in pieces on two processes: every value that of one process that holds them whole."""
    oracle.run(_train_sharded, tmp_path)
    for kind in ("perceptron", "convolutions"):
        assert not (tmp_path / f"{kind}.1.zarr").exists()
        _compare(tmp_path / f"{kind}.0.zarr", tmp_path / f"{kind}.one.0.zarr")


def _die(rank: int, folder: Path) -> None:
    model, optimizer = _wrapped("perceptron")
    with _watch(model, optimizer, folder / "run.zarr", "perceptron"):
        oracle.train(model, optimizer, "perceptron", [rank], steps=2)
        optimizer.zero_grad()
        model(*oracle.batch("perceptron", 2, 0, rank)).mean().backward()
        if rank == 1:
            os._exit(0)
        optimizer.step()


def test_a_process_that_dies(tmp_path: Path) -> None:
    """The one that is left does not wait for it at the next record; its run ends as failed, with what was recorded."""
    start = time.monotonic()
    errors = oracle.finish(oracle.start(_die, tmp_path), tmp_path)
    assert "NotTogetherError: another process that trains the model is gone" in errors[0]
    assert errors[1] == "did not end"
    assert time.monotonic() - start < 60
    tree = open_run(tmp_path / "run.zarr")
    assert tree.attrs["state"] == "failed"
    assert tree["diagnostics"].sizes["step"] >= 2


def _misuse(rank: int, folder: Path) -> None:
    model, optimizer = _wrapped("perceptron")

    def watch(model: object, **settings: object) -> Monitor:
        settings = {"optimizer": optimizer, "store": folder / "run.zarr"} | settings
        return attach(model, **settings)  # type: ignore[arg-type]

    with pytest.raises(ConfigurationError, match=r"schedule is not the same .*: Every\(steps=1\) and Every\(steps=2\)"):
        watch(model, schedule=every(1 + rank))
    (folder / "taken").mkdir(exist_ok=True)
    with pytest.raises(FileExistsError, match="exists already"):
        watch(model, store=folder / "taken")
    with pytest.raises(ConfigurationError, match=r"only parts .* trains its own 1.weight, 1.bias"):
        watch(nn.Sequential(model, nn.Linear(1, 1)).double())
    split = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    mesh = init_device_mesh("cpu", (oracle.PROCESSES,))
    with pytest.raises(ConfigurationError, match="not those of fully_shard"):
        watch(parallelize_module(split, mesh, {"0": ColwiseParallel()}))
    hybrid = init_device_mesh("cpu", (1, oracle.PROCESSES), mesh_dim_names=("replicas", "pieces"))
    with pytest.raises(ConfigurationError, match="a mesh of one dimension"):
        watch(fully_shard(oracle.perceptron(), mesh=hybrid))
    with watch(model, store=folder / "losses") as monitor, warnings.catch_warnings(record=True) as told:
        monitor.losses(model(*oracle.batch("perceptron", 0, 0, rank)))
    assert [str(each.message) for each in told if "losses" in str(each.message)] == [
        "losses of one process among several are not looked at"
    ] * (rank == 0)
    with watch(model, schedule=every(1)), model.join(), pytest.raises(ConfigurationError, match="inside join"):
        oracle.train(model, optimizer, "perceptron", [rank], steps=1)


def _unreadable(_watch: object) -> None:
    raise ArithmeticError("cannot be read")


def _end_steps(monitor: Monitor, count: int) -> None:
    for _ in range(count):
        monitor.step()


def _lose(rank: int, folder: Path) -> None:
    model, optimizer = _wrapped("perceptron")
    # Without an optimizer to listen to, every process has to end its steps alike.
    with attach(model, store=folder / "steps", schedule=lambda step: step == 2 - rank) as monitor:
        monitor.step()
        with pytest.raises(NotTogetherError, match=r"0 at \('model', 2\), 1 at \('model', 1\)"):
            _end_steps(monitor, 2)
    with attach(model, optimizer=optimizer, store=folder / "unread", schedule=every(1)):
        oracle.train(model, optimizer, "perceptron", [rank], steps=1)
        with pytest.MonkeyPatch.context() as patch:
            if rank == 1:
                patch.setattr(NetworkWatch, "sight", _unreadable)
            with pytest.raises(NotTogetherError if rank == 0 else ArithmeticError, match="cannot be read"):
                oracle.train(model, optimizer, "perceptron", [rank], steps=1)
    # Where one process waits for a record, the other may be ahead, waiting for gradients.
    late = attach(model, optimizer=optimizer, store=folder / "late", schedule=lambda step: step == 2 + rank)
    with late, pytest.raises(RuntimeError) as error:
        oracle.train(model, optimizer, "perceptron", [rank], steps=5)
    assert rank == 1 or "did not come to a record" in str(error.value)
    if rank == 0:
        with pytest.raises(ConfigurationError, match="not all 2 processes that train the model called attach"):
            attach(model, optimizer=optimizer, store=folder / "only here")
        assert not (folder / "only here").exists()


def _budgeted(rank: int, folder: Path) -> None:
    model, optimizer = _wrapped("perceptron")
    with attach(model, optimizer=optimizer, store=folder / f"run.{rank}.zarr", schedule=budget(0.3)) as monitor:
        oracle.train(model, optimizer, "perceptron", [rank], steps=300)
        assert monitor.steps == 300
    with attach(model, optimizer=optimizer, store=folder / f"again.{rank}.zarr", schedule=at([0, 3])):
        oracle.train(model, optimizer, "perceptron", [rank], steps=5)


def _agree(rank: int, folder: Path) -> None:
    together.PATIENCE = timedelta(seconds=5)  # type: ignore[misc]  # five minutes are too long here
    _budgeted(rank, folder)
    _misuse(rank, folder)
    _lose(rank, folder)


def test_what_processes_agree_on(tmp_path: Path) -> None:
    """What the writer's clock allows is what all measure; what they do not agree on is said in each, and none hangs.

    Other settings, networks that are distributed otherwise, other records, a process that could not be read.
    """
    oracle.run(_agree, tmp_path)
    steps = group(tmp_path / "run.0.zarr", "diagnostics").indexes["step"]
    assert steps[0] == 0
    assert 2 < len(steps) < 300
    assert group(tmp_path / "again.0.zarr", "diagnostics").indexes["step"].tolist() == [0, 3]
