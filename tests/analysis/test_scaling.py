"""A metric against width and task count."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from plastikit.analysis.scaling import scaling
from plastikit.errors import UnknownNameError


def dormant(run: Any, step: int) -> float:
    """Rises with width and training, falls with tasks, and differs a little from seed to seed."""
    odds = 0.02 * run.width / 32 / run.task_count**0.5 * (1 + step / 1000) * 1.1**run.seed
    return odds / (1 + odds)


def norm(run: Any, step: int) -> float:
    """Proportional to the width."""
    return run.width * (1.0 + 0.01 * run.seed)


@pytest.fixture
def runs(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> xr.DataTree:
    """Two task counts, three widths, four seeds."""
    return join(grid([1, 3], [32, 64, 128], 4), {"dormant_fraction": dormant, "weight_norm": norm})


def test_cells_hold_every_run_and_their_interquartile_mean(runs: xr.DataTree) -> None:
    """Each cell lists its runs and the mean of the middle half of their final values, inside its interval."""
    result = scaling(runs, "weight_norm")
    assert [(cell.task_count, cell.width, cell.n) for cell in result.cells] == [
        (k, w, 4) for k in (1, 3) for w in (32, 64, 128)
    ]
    first = result.cells[0]
    assert first.interquartile_mean == pytest.approx(32 * 1.015)
    assert first.low < first.interquartile_mean < first.high
    assert first.method.startswith("BCa")


def test_shares_of_units_are_modelled_in_log_odds_by_counts(runs: xr.DataTree) -> None:
    """The dormant fraction gets a binomial model of its units: the odds double with the width."""
    result = scaling(runs, "dormant_fraction", network="critic")
    width, tasks, interaction, *differences = result.slopes
    assert [slope.scale for slope in result.slopes] == ["log-odds"] * 3 + ["difference"] * 3
    assert width.factor[0] == pytest.approx(2.0, rel=0.01)
    assert tasks.factor[0] == pytest.approx(3 ** (-0.5 / np.log2(3)), rel=0.01)
    assert interaction.factor[0] == pytest.approx(1.0, abs=0.01)
    assert "counts of units" in width.method
    assert result.runs[0].units == 96.0
    assert differences[0].estimate > 0.0


def test_the_final_window_is_averaged_not_the_last_point(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Of 40 records the last four count."""
    runs = join(grid([1], [32], 1), {"srank": lambda run, step: float(step)}, range(40))
    assert scaling(runs, "srank").runs[0].value == 37.5
    assert scaling(runs, "srank", window=1.0).runs[0].value == 19.5


def test_runs_that_did_not_finish_are_named_and_left_out(
    join: Callable[..., xr.DataTree], one_run: Callable[..., Any]
) -> None:
    """A failed run counts nowhere, is named in the notes, and counts when it is asked for."""
    runs = join([one_run(seed=0), one_run(seed=1), one_run(seed=2, state="failed")], {"weight_norm": norm})
    result = scaling(runs, "weight_norm")
    assert result.cells[0].n == 2
    assert result.runs[2].left_out == "failed"
    assert any("tasks1_width32_seed2 failed" in note for note in result.notes)
    everything = scaling(runs, "weight_norm", unfinished=True)
    assert everything.cells[0].n == 3
    assert any("failed, and counts" in note for note in everything.notes)


def test_a_run_without_a_value_is_named_not_dropped_in_silence(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """A run whose metric is NaN throughout is in the result, left out, and in the notes."""
    runs = join(grid([1], [32], 3), {"srank": lambda run, step: np.nan if run.seed == 1 else 5.0 + run.seed})
    result = scaling(runs, "srank")
    assert len(result.runs) == 3
    assert result.cells[0].runs == ("tasks1_width32_seed0", "tasks1_width32_seed2")
    assert any("tasks1_width32_seed1 has no finite srank" in note for note in result.notes)


def test_runs_unlike_the_others_are_remarked(join: Callable[..., xr.DataTree], one_run: Callable[..., Any]) -> None:
    """Different depths, architectures and lengths of the runs that are compared are said."""
    pair = [one_run(seed=0), one_run(seed=1, depth=3, architecture="plain")]
    runs = join(pair, {"weight_norm": lambda run, step: np.nan if run.seed and step > 500 else 1.0 + run.seed})
    notes = " ".join(scaling(runs, "weight_norm").notes)
    assert "depths are mixed: 2, 3" in notes
    assert "architectures are mixed" in notes
    assert "between steps 500 and 900" in notes


def test_one_run_gives_a_point_and_says_what_it_cannot(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """A single run has a value, no interval, no slope, and no crash."""
    result = scaling(join(grid([1], [32], 1), {"weight_norm": norm}), "weight_norm")
    assert result.cells[0].interquartile_mean == 32.0
    assert np.isnan(result.cells[0].low)
    assert "one run" in result.cells[0].method
    assert all(np.isnan(slope.estimate) and slope.note for slope in result.slopes)


def test_a_grid_of_single_runs_gives_slopes_without_intervals(
    join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]
) -> None:
    """Four runs of one seed identify the slopes and not how sure they are."""
    result = scaling(join(grid([1, 3], [32, 128], 1), {"weight_norm": norm}), "weight_norm")
    assert result.slopes[0].factor[0] == pytest.approx(2.0)
    assert np.isnan(result.slopes[0].low)
    assert "No interval" in result.slopes[0].note


def test_a_result_becomes_plain_json(runs: xr.DataTree) -> None:
    """to_dict survives strict JSON, with null for NaN, the size of each cell and each slope in words."""
    plain = json.loads(json.dumps(scaling(runs, "weight_norm").to_dict(), allow_nan=False))
    assert plain["metric"] == "weight_norm"
    assert plain["cells"][0]["n"] == 4
    assert plain["runs"][0]["units"] is None
    assert plain["slopes"][0]["factor"] == pytest.approx(2.0, rel=0.01)
    assert "per doubling of width" in plain["slopes"][0]["reading"]


def test_a_result_becomes_a_dataset_for_figures(runs: xr.DataTree) -> None:
    """to_dataset holds the cells and the runs, each with its place on the grid."""
    dataset = scaling(runs, "dormant_fraction").to_dataset()
    assert dataset.sizes == {"cell": 6, "run": 24}
    assert dataset.attrs["is_share"]
    assert (dataset["cell_low"] <= dataset["cell_value"]).all()


def test_an_unknown_metric_is_refused(runs: xr.DataTree) -> None:
    """A metric that the runs do not hold is an error that names those that they do."""
    with pytest.raises(UnknownNameError, match="weight_norm"):
        scaling(runs, "weight_nrom")


def test_the_definition_is_that_of_the_variable_that_was_read(runs: xr.DataTree) -> None:
    """A value of the whole network comes with its own passport, and that of one parameter with the parameter's."""
    diagnostics = runs["diagnostics"].to_dataset()
    for name in ("weight_norm", "network_weight_norm"):
        diagnostics[name].attrs |= {"definition": f"{name}/frobenius", "description": f"What {name} is."}
    runs["diagnostics"] = xr.DataTree(diagnostics)
    whole = scaling(runs, "weight_norm")
    assert whole.metric == "weight_norm"
    assert (whole.definition.variable, whole.definition.id) == ("network_weight_norm", "network_weight_norm/frobenius")
    assert whole.to_dict()["definition"]["description"] == "What network_weight_norm is."
    single = scaling(runs, "weight_norm", parameter="actor.*.weight")
    assert (single.definition.variable, single.definition.id) == ("weight_norm", "weight_norm/frobenius")


def test_two_runs_have_no_interval(join: Callable[..., xr.DataTree], grid: Callable[..., list[Any]]) -> None:
    """The smaller and the larger of two runs are not passed off as a 95% interval."""
    cell = scaling(join(grid([1], [32], 2), {"weight_norm": norm}), "weight_norm").cells[0]
    assert len(cell.values) == 2
    assert np.isnan([cell.low, cell.high]).all()
    assert cell.method == "none: two runs cannot bound it; every run is shown"
