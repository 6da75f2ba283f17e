"""A small synthetic sweep on disk, and the same runs joined."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from plastikit.record.dataset import open_runs
from plastikit.testing import write_synthetic_run, write_synthetic_sweep


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two task counts, two widths, two seeds, and a run that failed."""
    directory = tmp_path_factory.mktemp("sweep")
    write_synthetic_sweep(directory, tasks=(1, 3), widths=(32, 128), seeds=(0, 1), records=12)
    write_synthetic_run(
        directory / "broken.zarr", task_count=3, width=32, seed=9, records=6, state="failed", error="the loss is nan"
    )
    return directory


@pytest.fixture(scope="session")
def runs(sweep: Path) -> xr.DataTree:
    """The sweep as ``open_runs`` gives it."""
    return open_runs(sweep)
