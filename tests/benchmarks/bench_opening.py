"""What opening costs: 1,000 runs of 200 records as one dataset, and one metric of all of them, beside xarray's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plastikit.testing import write_synthetic_run

RUNS = 1_000
RUNS_OF_XARRAY = 50
"""xarray's time grows with the number of runs, and its memory too: both are measured on these and scaled."""
RECORDS = 200
DISTINCT = 20
METRIC = "srank"

_MEASURED = """
import sys, time
from pathlib import Path
import numpy as np, xarray as xr
from plastikit.record.dataset import open_runs
paths = sorted(Path(sys.argv[2]).glob("*.zarr"))[: int(sys.argv[3])]
def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
before = megabytes("VmRSS")
start = time.perf_counter()
if sys.argv[1] == "plastikit":
    values = open_runs(paths)["diagnostics"][sys.argv[4]].values
else:
    trees = [xr.open_datatree(path, engine="zarr", chunks=None) for path in paths]
    joined = xr.concat([tree["diagnostics"].to_dataset() for tree in trees], dim="run", join="outer")
    values = joined[sys.argv[4]].values
seconds = time.perf_counter() - start
most = megabytes("VmHWM")
print(seconds, most - before, most, *values.shape[:2], int(np.isfinite(values).sum()))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs: a few that differ, each of them many times under other names."""
    folder = tmp_path_factory.mktemp("opening")
    for number in range(RUNS):
        path = folder / f"run-{number:04}.zarr"
        if number < DISTINCT:
            write_synthetic_run(path, seed=number, records=RECORDS)
        else:
            shutil.copytree(folder / f"run-{number % DISTINCT:04}.zarr", path, copy_function=os.link)
    yield folder
    shutil.rmtree(folder)


def _measured(kind: str, folder: Path, count: int) -> tuple[float, float, float]:
    """Seconds, and in MB what was added to the memory of the process and the most that it had."""
    command = [sys.executable, "-P", "-c", _MEASURED, kind, str(folder), str(count), METRIC]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, added, most, found, records, _ = map(float, answer.stdout.split())
    assert (found, records) == (count, RECORDS)
    return seconds, added, most


def test_a_thousand_runs(runs: Path) -> None:
    """At most 5 s and 500 MB, with nothing loaded but what was asked for."""
    ours = min(_measured("plastikit", runs, RUNS) for _ in range(3))
    theirs = _measured("xarray", runs, RUNS_OF_XARRAY)
    scale = RUNS / RUNS_OF_XARRAY
    print(f"\n{RUNS} runs of {RECORDS} records as one dataset, and {METRIC} of all of them read")
    print(f"  plastikit.open_runs   {ours[0]:7.2f} s   {ours[1]:7.0f} MB added, {ours[2]:.0f} MB in all")
    print(
        f"  xarray open + concat  {theirs[0] * scale:7.2f} s   {theirs[1] * scale:7.0f} MB added "
        f"(scaled from {RUNS_OF_XARRAY} runs: {theirs[0]:.2f} s, {theirs[1]:.0f} MB)"
    )
    assert ours[0] <= 5.0
    assert ours[2] <= 500
