"""A training that goes on from a checkpoint: its run ends as one that was never interrupted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit import budget, every, log_spaced
from plastikit.errors import ConfigurationError, NotARunError
from plastikit.record.dataset import open_run
from plastikit.watch.attach import attach
from plastikit.watch.schedule import Budget, Schedule


def _training(*, width: int = 6) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, start: int, stop: int, monitor: Any) -> None:
    for step in range(start, stop):
        optimizer.zero_grad()
        inputs = torch.randn(32, 3, generator=torch.Generator().manual_seed(step))
        loss = model(inputs).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss=loss.detach())


def _saved(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("at", [1, 5, 6, 7, 12])
@pytest.mark.parametrize("schedule", [every(1), every(3), every(2, costly=4), log_spaced(5)])
def test_as_one_that_was_never_interrupted(tmp_path: Path, at: int, schedule: Schedule) -> None:
    """Every value is equal but the wall time and what watching cost, whatever was recorded after the checkpoint."""
    model, optimizer = _training()
    with attach(model, optimizer=optimizer, store=tmp_path / "whole.zarr", schedule=schedule) as monitor:
        _update(model, optimizer, 0, 20, monitor)

    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "parted.zarr", schedule=schedule)
    _update(model, optimizer, 0, at, monitor)
    state = _saved({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "monitor": monitor.state_dict()})
    _update(model, optimizer, at, at + 5, monitor)
    monitor.close("failed", error="killed")

    model, optimizer = _training()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    with attach(
        model, optimizer=optimizer, store=tmp_path / "parted.zarr", schedule=schedule, resume=state["monitor"]
    ) as monitor:
        assert monitor.steps == at
        _update(model, optimizer, at, 20, monitor)

    for name in ("diagnostics", "training"):
        whole, parted = (group(tmp_path / f"{run}.zarr", name) for run in ("whole", "parted"))
        assert parted["step"].values.tolist() == whole["step"].values.tolist()
        assert set(parted.variables) == set(whole.variables)
        for variable in set(map(str, whole.variables)) - {"wall_time", "probe_seconds"}:
            np.testing.assert_array_equal(parted[variable].values, whole[variable].values, err_msg=variable)
    tree = open_run(tmp_path / "parted.zarr")
    assert (tree.attrs["state"], "error" in tree.attrs) == ("finished", False)


@pytest.mark.parametrize("schedule", [budget(0.5), every(100)])
def test_a_schedule_that_has_nothing_due(tmp_path: Path, schedule: Schedule | Budget) -> None:
    """A budget measures once to know what a record costs; any other schedule waits for its time."""
    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=schedule)
    _update(model, optimizer, 0, 3, monitor)
    state = monitor.state_dict()
    monitor.close()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=schedule, resume=state)
    _update(model, optimizer, 3, 6, monitor)
    monitor.close()
    steps = group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist()
    assert (3 in steps) == isinstance(schedule, Budget)
    assert steps == sorted(set(steps))
    assert group(tmp_path / "run.zarr", "training")["step"].values.tolist() == [1, 2, 3, 4, 5, 6]


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    """No state, the state of another model, other probes, or no run: one error each that says what was found."""
    model, optimizer = _training()
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr") as monitor:
        _update(model, optimizer, 0, 3, monitor)
        state = monitor.state_dict()

    def resume(given: Any, *, store: str = "run.zarr", width: int = 6, probes: Any = "default") -> None:
        model, optimizer = _training(width=width)
        attach(model, optimizer=optimizer, store=tmp_path / store, resume=given, probes=probes)

    with pytest.raises(ConfigurationError, match=r"resume is 3, where what Monitor.state_dict\(\) gave"):
        resume(3)
    with pytest.raises(ConfigurationError, match=r"a mapping of step, where"):
        resume({"step": 3})
    with pytest.raises(ConfigurationError, match=r"where what Monitor.state_dict\(\) gave"):
        resume(state | {"probes": None})
    with pytest.raises(ConfigurationError, match=r"another run than the one that the state was saved with"):
        resume(state | {"run": "another"})
    with pytest.raises(ConfigurationError, match=r"of shape \(6, 3\), which the model has with shape \(7, 3\)"):
        resume(state, width=7)
    with pytest.raises(ConfigurationError, match=r"recorded with other settings: .* and is now None"):
        resume(state, probes=["dormancy", "parameters"])
    with pytest.raises(NotARunError, match="does not exist"):
        resume(state, store="other.zarr")
    assert open_run(tmp_path / "run.zarr").attrs["state"] == "finished"


def _parted(store: Path, between: Any, *, at: int = 20, last: int = 40) -> Any:
    """A training that is resumed at once; ``between`` is told the monitor before and after."""
    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=store, schedule=every(10))
    _update(model, optimizer, 0, at, monitor)
    between(monitor)
    state = monitor.state_dict()
    monitor.close()
    monitor = attach(model, optimizer=optimizer, store=store, schedule=every(10), resume=state)
    between(monitor)
    _update(model, optimizer, at, last, monitor)
    monitor.close()
    return group(store, "diagnostics")


def test_the_record_at_the_checkpoint_is_whole(tmp_path: Path) -> None:
    """What was observed there before joins what is measured there now, which counts where both measured."""
    found = _parted(tmp_path / "run.zarr", lambda monitor: monitor.observe(torch.ones(4, 3)))
    assert found["step"].values.tolist() == [0, 10, 20, 30]
    whole = _parted(tmp_path / "other.zarr", lambda monitor: None)
    for name in whole.data_vars:
        if name != "probe_seconds":
            np.testing.assert_array_equal(found[name].values, whole[name].values, err_msg=str(name))
    assert not np.isnan(found["observed_srank"].sel(step=20).values).any()


def test_a_record_of_the_abandoned_training_is_replaced(tmp_path: Path) -> None:
    """The update after the checkpoint was made twice, on other batches: the run holds the one that counts."""
    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(10))
    _update(model, optimizer, 0, 20, monitor)
    state = _saved({"model": model.state_dict(), "monitor": monitor.state_dict()})
    _update(model, optimizer, 100, 115, monitor)
    monitor.close()
    handed = {}
    model.load_state_dict(state["model"])
    monitor = attach(
        model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(10), resume=state["monitor"]
    )
    monitor.on_record(lambda record: handed.update({record.step: record.values["gradient_norm"]}))
    _update(model, optimizer, 20, 25, monitor)
    monitor.close()
    found = group(tmp_path / "run.zarr", "diagnostics")["gradient_norm"].sel(step=20)
    assert found.values.tolist() == [float(handed[20][str(name)]) for name in found["parameter"].values]


def test_a_state_is_committed_and_what_is_missing_told(tmp_path: Path) -> None:
    """Whoever goes on from a state finds all that was recorded before it; where a run lost it, that is said."""
    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1))
    _update(model, optimizer, 0, 30, monitor)
    state = monitor.state_dict()
    assert group(tmp_path / "run.zarr", "diagnostics")["step"].values.tolist() == list(range(30))
    monitor.close()
    state["rows"]["training"] += 7
    with pytest.warns(UserWarning, match=r"lacks the last 7 rows of training before step 30"):
        attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1), resume=state).close()
    assert "lacks the last 7 rows" in str(group(tmp_path / "run.zarr", "events")["message"].values[-1])


def test_a_cell_that_is_run_again(tmp_path: Path) -> None:
    """Resumed again in the same session, the later monitor takes the place of the one that holds the run."""
    model, optimizer = _training()
    monitor = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr")
    _update(model, optimizer, 0, 3, monitor)
    again = attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", resume=monitor.state_dict())
    assert not monitor.is_open
    _update(model, optimizer, 3, 5, again)
    again.close()
    assert group(tmp_path / "run.zarr", "training")["step"].values.tolist() == [1, 2, 3, 4, 5]
