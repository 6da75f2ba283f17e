"""Sentences on the runs behind a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.analysis.notes import NONE_FINISHED
from plastikit.analysis.scaling import scaling
from plastikit.analysis.summary import summary


def value(run: Any, step: int) -> float:
    """A little different in each run."""
    return 0.2 + 0.01 * run.seed


@pytest.mark.parametrize("missing", ["", None, np.nan])
def test_what_a_run_does_not_say_is_not_compared(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]], missing: Any
) -> None:
    """A run without architecture and depth is no run of another one, and JSON says null for both."""
    runs = join(grid([1], [32], 2), {"srank": value})
    told = {"architecture": ("run", np.array(["multi_head", missing], dtype=object)), "depth": ("run", [3.0, np.nan])}
    runs = xr.DataTree.from_dict({path: group.assign_coords(told) for path, group in runs.to_dict().items()})
    result = scaling(runs, "srank")
    assert not [note for note in result.notes if "mixed" in note]
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))["runs"]
    assert [(run["architecture"], run["depth"]) for run in plain] == [("multi_head", 3), (None, None)]


def test_where_no_run_finished_the_option_that_counts_them_is_named(
    join: Callable[..., xr.DataTree], one_run: Callable[..., Any]
) -> None:
    """An empty table of interrupted runs says how to fill it; the summary, which has no such option, does not."""
    runs = join([one_run(seed=seed, state="interrupted") for seed in range(2)], {"srank": value})
    assert scaling(runs, "srank").cells == ()
    assert NONE_FINISHED in scaling(runs, "srank").notes
    assert "--unfinished" in NONE_FINISHED
    assert NONE_FINISHED not in scaling(runs, "srank", unfinished=True).notes
    assert NONE_FINISHED not in summary(runs).notes


def test_a_batch_that_grows_with_the_tasks_is_said(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Dormancy on training batches of different size carries a note; weights, probe batches and equal batches none."""
    runs = join(grid([1, 4], [32], 2), {"dormant_fraction": value, "weight_norm": value})
    diagnostics = runs["diagnostics"].to_dataset()

    def measured_on(source: str) -> tuple[str, ...]:
        for name in diagnostics.data_vars:
            diagnostics[name].attrs["source"] = source
        runs["diagnostics"] = xr.DataTree(diagnostics)
        return scaling(runs, "dormant_fraction").notes

    assert measured_on("training batch") == ()
    for entry in runs.attrs["runs"].values():
        entry["configuration"]["sac"] = {"batch_size_per_task": 128}
    (note,) = measured_on("training batch")
    assert "128 at 1 task; 512 at 4 tasks" in note
    assert scaling(runs, "weight_norm").notes == ()
    assert measured_on("probe batch") == ()
    for entry in runs.attrs["runs"].values():
        entry["configuration"]["sac"] = {"batch_size_per_task": 512 // len(entry["configuration"]["tasks"])}
    assert measured_on("training batch") == ()


def test_scores_on_different_probe_sets_are_said(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Runs of one set of states carry no note, runs of two do; what was measured in training is another matter."""
    runs = join(grid([1, 4], [32], 2), {"srank": value, "dormant_fraction": value})
    diagnostics = runs["diagnostics"].to_dataset()
    diagnostics["srank"].attrs["source"] = "probe batch"
    diagnostics["dormant_fraction"].attrs["source"] = "training batch"
    runs["diagnostics"] = xr.DataTree(diagnostics)
    entries = list(runs.attrs["runs"].values())
    for entry in entries:
        entry["configuration"]["probe_states"] = {"hash": "one"}
    assert scaling(runs, "srank").notes == ()
    entries[0]["configuration"]["probe_states"] = {"hash": "other"}
    (note,) = scaling(runs, "srank").notes
    assert "2 different probe sets" in note
    assert scaling(runs, "dormant_fraction").notes == ()
