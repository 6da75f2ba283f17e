"""Synthetic runs are whole runs: the layout of a real one, with values in their ranges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from plastikit.errors import StoreExistsError
from plastikit.record.dataset import open_run, open_runs
from plastikit.testing import write_synthetic_run, write_synthetic_sweep
from plastikit.testing.runs import MEASURED
from plastikit.watch.attach import attach


def test_the_layout_of_a_real_run(tmp_path: Path) -> None:
    """Each variable has the dimensions, type, coordinates and passport that a monitor writes."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach({"actor": model}, optimizer=optimizer, store=tmp_path / "real.zarr", probes=MEASURED) as monitor:
        monitor.stamp(env_step=0)
        model(torch.ones(4, 2)).sum().backward()
        optimizer.step()
        monitor.evaluation(success_rate={"reach": 1.0}, episode_return={"reach": 2.0})
    real = open_run(tmp_path / "real.zarr")
    synthetic = open_run(write_synthetic_run(tmp_path / "synthetic.zarr"))
    for group in ("diagnostics", "evaluation"):
        ours, theirs = synthetic[group].to_dataset(), real[group].to_dataset()
        assert set(ours.coords) == set(theirs.coords)
        assert set(ours.data_vars) == set(theirs.data_vars)
        for name in theirs.variables:
            assert ours[name].dims == theirs[name].dims, name
            assert ours[name].dtype == theirs[name].dtype, name
            if name != "env_step":
                assert ours[name].attrs == theirs[name].attrs, name


def test_values_in_range(tmp_path: Path) -> None:
    """Fractions lie in [0, 1], ranks under their ceiling, and the same seed gives the same run."""
    run = open_run(write_synthetic_run(tmp_path / "a.zarr", task_count=4, width=16, depth=3, seed=1))
    again = open_run(write_synthetic_run(tmp_path / "b.zarr", task_count=4, width=16, depth=3, seed=1))
    diagnostics = run["diagnostics"].to_dataset()
    for name in diagnostics.data_vars:
        values = diagnostics[name].values
        assert np.isfinite(values).all(), name
        assert values.min() >= 0, name
        if "fraction" in str(name):
            assert values.max() <= 1, name
        np.testing.assert_array_equal(values, again["diagnostics"].to_dataset()[name].values)
    assert (diagnostics["srank"] <= diagnostics["rank_ceiling"]).all()
    assert diagnostics.sizes["layer"] == 9
    assert diagnostics.sizes["unit"] == 9 * 16
    assert run["evaluation"].sizes["task"] == len(run.attrs["configuration"]["tasks"]) == 4


def test_a_sweep(tmp_path: Path) -> None:
    """One run for each task count, width and seed; a second one does not overwrite it."""
    paths = write_synthetic_sweep(tmp_path, tasks=(1, 3), widths=(8,), seeds=(0, 1), records=2)
    assert len(paths) == 4
    assert sorted(open_runs(tmp_path).to_dataset()["task_count"].values.tolist()) == [1, 1, 3, 3]
    with pytest.raises(StoreExistsError):
        write_synthetic_sweep(tmp_path, tasks=(1,), widths=(8,), seeds=(0,), records=2)
