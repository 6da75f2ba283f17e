"""Every example runs as it stands and prints what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore

from plastikit.record.dataset import open_run, read_attributes

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    """The script ends well; one that is told where to record leaves a run that says it is finished."""
    store = tmp_path / "run.zarr"
    command = [sys.executable, "-P", str(example), str(store)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") > 3
    if "sys.argv" in example.read_text(encoding="utf-8"):
        assert read_attributes(store)["state"] == "finished"


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    """The event files hold the very values of the run under variable and layer, at the record's step, and no NaN."""
    _run("tensorboard_logger", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    run = open_run(tmp_path / "run.zarr")["diagnostics"].to_dataset()
    for tag, values in {
        "srank/1": run["srank"].sel(layer="1"),
        "dormant_fraction/1/tau=0.025": run["dormant_fraction"].sel(layer="1", tau=0.025),
        "weight_norm/0.weight": run["weight_norm"].sel(parameter="0.weight"),
    }.items():
        assert {event.step: event.value for event in events.Scalars(tag)} == _finite(values)
    tags = events.Tags()
    assert tags["histograms"] == ["unit_activation/1", "unit_gradient/1"]
    numbers = [event.value for tag in tags["scalars"] for event in events.Scalars(tag)]
    assert np.isfinite(numbers).all()


def test_wandb_gets_every_number(tmp_path: Path) -> None:
    """The offline run holds the very values of the run under variable and layer, on their own axis, and no NaN."""
    _run("wandb_logger", tmp_path)
    [file] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    history = [row for row in _wandb_history(file) if "plastikit/step" in row]
    run = open_run(tmp_path / "run.zarr")["diagnostics"].to_dataset()
    for name, values in {
        "plastikit/srank/1": run["srank"].sel(layer="1"),
        "plastikit/dormant_fraction/1/tau=0.025": run["dormant_fraction"].sel(layer="1", tau=0.025),
    }.items():
        assert {row["plastikit/step"]: row[name] for row in history if name in row} == _finite(values)
    assert [row["plastikit/step"] for row in history] == list(range(0, 100, 10))
    assert history[0]["plastikit/unit_activation/1/_type"] == "histogram"
    assert not [value for row in history for value in row.values() if value != value]  # noqa: PLR0124


def _run(example: str, folder: Path) -> None:
    [script] = [file for file in EXAMPLES if file.stem == example]
    command = [sys.executable, "-P", str(script), str(folder / "run.zarr")]
    # What its makers would be told of errors stays here too.
    silent = os.environ | {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    subprocess.run(command, capture_output=True, check=True, cwd=folder, env=silent)


def _finite(values: xr.DataArray) -> dict[int, float]:
    return {int(at.step): float(at) for at in values if np.isfinite(at)}


def _wandb_history(file: Path) -> list[dict[str, Any]]:
    store = DataStore()
    store.open_for_scan(str(file))
    rows = []
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made when it is imported
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            )
    return rows
