"""``plastikit show``: one run, and one metric of it, at a glance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import plastikit
from plastikit.cli.main import app
from plastikit.record.dataset import open_run
from plastikit.record.root import ROOT, seal, unseal
from plastikit.testing import write_synthetic_run


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


def _answer(*arguments: str | Path) -> dict[str, Any]:
    answer = _call(*arguments, "--json")
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MLP in training, with a loss, an event and settings."""
    torch.manual_seed(0)
    store = tmp_path_factory.mktemp("runs") / "mlp.zarr"
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.Adam(model.parameters())
    with plastikit.attach(
        model,
        optimizer=optimizer,
        store=store,
        schedule=plastikit.every(1, costly=5),
        metadata={"seed": 3, "optimizer": {"lr": 0.001}},
    ) as monitor:
        for _ in range(12):
            loss = model(torch.randn(16, 4)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss=loss)
        monitor.event("note", "one\nof two lines")
    return store


def test_the_whole_run(run: Path) -> None:
    """State, origin, settings, schedule, groups, last values by layer with a trend, and events are all there."""
    answer = _call(run)
    assert answer.exit_code == 0, answer.output
    words = " ".join(answer.stdout.split())
    for part in (
        "mlp finished",
        "plastikit 0.1.0",
        "Every(steps=1, costly=5)",
        "dormancy",
        "optimizer.lr 0.001",
        "diagnostics 12 0 – 11",
        "layer 2",
        "last values by layer",
        "step 12 note: one of two lines",
    ):
        assert part in words
    ranks = open_run(run)["diagnostics"]["srank"].sel(layer="3").dropna("step").values
    [line] = [line for line in answer.stdout.splitlines() if line.startswith("3 ")]
    assert f" {ranks[-1]:.4g} " in line
    assert any(mark in line for mark in "▁▄█")


def test_json_holds_what_is_shown(run: Path) -> None:
    """The same for programs: groups, events, settings, and last values with the step that each was measured at."""
    found = _answer(run)
    assert (found["state"], found["configuration"]["optimizer"]) == ("finished", {"lr": 0.001})
    assert found["groups"]["diagnostics"]["rows"] == 12
    assert found["groups"]["training"] | {"variables": ["loss"], "rows": 12} == found["groups"]["training"]
    assert found["events"] == [{"step": 12, "kind": "note", "message": "one\nof two lines"}]
    [by_layer] = [tables for title, tables in found["last"].items() if "by layer" in title]
    ranks = {last["label"]: (last["step"], last["value"]) for last in by_layer["srank"]}
    wanted = open_run(run)["diagnostics"]["srank"].sel(step=10)
    assert ranks == {str(at.layer.item()): (10, float(at)) for at in wanted}


def test_a_metric_and_its_course(run: Path) -> None:
    """Its passport, and for each layer and threshold the first, last, least and most value."""
    answer = _call(run, "dormant_fraction")
    assert answer.exit_code == 0, answer.output
    words = " ".join(answer.stdout.split())
    assert "Sokar et al. 2023" in words
    assert "measured at 12 steps from 0 to 11" in words
    assert sum(line.startswith(("1 ", "3 ")) for line in answer.stdout.splitlines()) == 8
    found = _answer(run, "dormant_fraction")
    dataset = open_run(run)["diagnostics"].to_dataset()
    for series in found["series"]:
        np.testing.assert_array_equal(series["values"], dataset["dormant_fraction"].sel(series["labels"]).values)
    assert found["passport"]["definition"] == dataset["dormant_fraction"].attrs["definition"]


def test_a_costly_metric_has_gaps(run: Path) -> None:
    """Between its records a costly metric is null in JSON, and its course goes over those that it has."""
    found = _answer(run, "srank")
    assert [value is None for value in found["series"][0]["values"]] == [step % 5 != 0 for step in range(12)]
    assert "measured at 3 steps from 0 to 10" in " ".join(_call(run, "srank").stdout.split())


def test_units_are_averaged_by_layer(run: Path) -> None:
    """Of a variable with a value for each unit, the mean over each layer's units is shown, and it is said so."""
    found = _answer(run, "unit_activation")
    assert found["averaged"] == "mean over the units of each layer"
    dataset = open_run(run)["diagnostics"].to_dataset()
    for series in found["series"]:
        place = dataset["layer"].values.tolist().index(series["labels"]["layer"])
        wanted = dataset["unit_activation"].values[:, dataset["unit_layer"].values == place].mean(axis=1)
        np.testing.assert_allclose(series["values"], wanted, rtol=1e-5)


def test_losses_and_tasks(tmp_path: Path) -> None:
    """What training and evaluation recorded can be asked for too, by its name or with its group."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=10)
    assert [series["labels"] for series in _answer(run, "critic_loss")["series"]] == [{}]
    tasks = _answer(run, "evaluation/success_rate")["series"]
    assert [series["labels"]["task"] for series in tasks] == ["reach-v3", "drawer-close-v3", "window-open-v3"]
    assert "critic_loss" in _call(run).stdout


def test_a_long_course_of_units_is_thinned(tmp_path: Path) -> None:
    """Of a long run, units are read at 64 steps from the first to the last."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=200, width=4)
    steps = _answer(run, "unit_activation")["steps"]
    assert (len(steps), steps[0], steps[-1]) == (64, 0, 19900)


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    """The error of a failed run stands right under its name."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=2, state="failed", error="DivergedError: loss is nan")
    assert _call(run).stdout.splitlines()[:2] == ["run", "failed: DivergedError: loss is nan"]


def test_lost_rows_are_told(tmp_path: Path) -> None:
    """Rows that could not be written are named with their steps and the reason."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=2)
    document = unseal((run / ROOT).read_bytes())
    document["attributes"]["dropped"] = [
        {"group": "training", "rows": 17, "first": 100, "last": 1700, "reason": "no space left on device"}
    ]
    (run / ROOT).write_bytes(seal(document))
    words = " ".join(_call(run).stdout.split())
    assert "dropped: 17 rows of training, steps 100 to 1700: no space left on device" in words
    assert _answer(run)["dropped"] == document["attributes"]["dropped"]


def test_a_run_without_rows(tmp_path: Path) -> None:
    """A run that has recorded nothing yet can be looked at, and so can its metrics be asked for in vain."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=0)
    assert _call(run).exit_code == 0
    assert "unknown metric 'srank'" in _call(run, "srank").output


def test_what_is_damaged_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    """A damaged chunk takes its own metric away, and says which rows are lost."""
    run = write_synthetic_run(tmp_path / "run.zarr", records=6)
    (run / "diagnostics" / "srank" / "c" / "0" / "0").write_bytes(b"what")
    answer = _call(run)
    assert answer.exit_code == 0, answer.output
    assert "diagnostics/srank cannot be read in rows 0 to 5" in " ".join(answer.stdout.split())
    assert "last values by network" in answer.stdout
    assert _call(run, "srank").exit_code == 1
    assert _call(run, "weight_norm").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.zarr"], "nowhere.zarr does not exist"),
        (["mlp.zarr", "srnk"], "Did you mean srank"),
        (["mlp.zarr", "zzz"], "There is: "),
        (["mlp.zarr", "message"], "unknown metric 'message'"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], complaint: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, what was expected and the next move."""
    monkeypatch.chdir(run.parent)
    answer = _call(*arguments)
    assert answer.exit_code == 1
    assert complaint in answer.output
    assert len(answer.stderr.strip().splitlines()) == 1
