"""How a run ends: closed, failed, interrupted, or told that it saw nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from oracles.runs import group
from plastikit.errors import StoreClosedError
from plastikit.record.dataset import open_run
from plastikit.watch import ending
from plastikit.watch.attach import attach
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import every


def _model() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.05)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int = 1) -> None:
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where a test's run goes."""
    return tmp_path / "run.zarr"


class _Hidden(nn.Module):
    """Writes into its input where no torch function shows it."""

    def forward(self, inputs: Tensor) -> Tensor:
        """A part of torch's own machinery does such things."""
        with torch._C.DisableTorchFunction():
            return inputs.add_(1.0)


def test_a_layer_written_into_is_nan_and_told(run: Path) -> None:
    """It is NaN in every record, with one warning and one event, and so is the network's pooled value."""
    model = nn.Sequential(nn.Linear(3, 4), _Hidden(), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.warns(UserWarning, match=r"layer 0 was written into") as warned,
        attach(model, optimizer=optimizer, store=run, schedule=every(1), layers=["0", "2"]),
    ):
        _update(model, optimizer, 3)
    assert len([warning for warning in warned if "layer 0" in str(warning.message)]) == 1
    diagnostics = group(run, "diagnostics")
    assert list(diagnostics["layer"].values) == ["2"]
    assert "network_dormant_fraction" not in diagnostics
    assert list(group(run, "events")["kind"].values) == ["warning"]


def test_layers_that_were_never_seen_are_told(run: Path) -> None:
    """A watched layer that no forward went through is a warning at the end, not silence."""
    model = nn.ModuleDict({"used": nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "idle": nn.Tanh()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"no forward.*idle"), attach(model, optimizer=optimizer, store=run):
        _update(model["used"], optimizer)
    assert list(group(run, "diagnostics")["layer"].values) == ["used.1"]


@pytest.mark.filterwarnings("ignore:no forward")
def test_an_update_without_a_forward_is_told(run: Path) -> None:
    """Where no forward with gradients came before the update, the record says so and holds the rest."""
    model, optimizer = _model()
    weight = model.get_parameter("0.weight")
    weight.grad = torch.ones_like(weight)
    with pytest.warns(UserWarning, match=r"updated without a forward"), attach(model, optimizer=optimizer, store=run):
        optimizer.step()
    diagnostics = group(run, "diagnostics")
    assert "srank" not in diagnostics
    assert diagnostics["gradient_norm"].sel(parameter="0.weight").item() == pytest.approx(18**0.5)


def test_closing(run: Path) -> None:
    """A closed run takes no more records, a second close changes nothing, and the training goes on unwatched."""
    model, optimizer = _model()
    monitor = attach(model, optimizer=optimizer, store=run)
    _update(model, optimizer)
    monitor.close()
    monitor.close("failed", error="late")
    _update(model, optimizer)
    assert open_run(run).attrs["state"] == "finished"
    assert "error" not in open_run(run).attrs
    with pytest.raises(StoreClosedError, match=r"is finished; start a new run"):
        monitor.step(loss=1)


def test_a_monitor_that_saw_nothing_says_so(run: Path) -> None:
    """Forgetting the optimizer is told at the end."""
    model, optimizer = _model()
    with pytest.warns(UserWarning, match=r"saw no update; pass optimizer="), attach(model, store=run):
        _update(model, optimizer)


@pytest.fixture
def monitor(run: Path) -> Monitor:
    """A monitor without an optimizer, after two steps."""
    model, optimizer = _model()
    monitor = attach(model, store=run, schedule=every(1), metadata={"width": 6})
    for _ in range(2):
        _update(model, optimizer)
        monitor.step(loss=1.0)
    return monitor


def test_an_error_fails_the_run(monitor: Monitor, run: Path) -> None:
    """An exception inside marks the run as failed with its error; everything recorded is kept."""
    with pytest.raises(ValueError, match="boom"), monitor:
        raise ValueError("boom")
    tree = open_run(run)
    assert tree.attrs["state"] == "failed"
    assert tree.attrs["error"] == "ValueError: boom"
    assert tree.attrs["configuration"] == {"width": 6}
    assert tree["diagnostics"].sizes["step"] == tree["training"].sizes["step"] == 2


def test_an_interrupt_is_told_apart(monitor: Monitor, run: Path) -> None:
    """Ctrl-C closes the run as interrupted; everything recorded is kept."""
    with pytest.raises(KeyboardInterrupt), monitor:
        raise KeyboardInterrupt
    tree = open_run(run)
    assert tree.attrs["state"] == "interrupted"
    assert tree.attrs["error"] == "interrupted after 2 updates"
    assert tree["diagnostics"].sizes["step"] == 2


def test_an_interrupted_close_can_be_closed_again(monitor: Monitor, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the run is being closed loses nothing: the run is as open as before."""

    def interrupt(_attributes: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(monitor._store._writer, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            monitor.close()
    monitor.close()
    assert open_run(run).attrs["state"] == "finished"
    assert open_run(run)["training"].sizes["step"] == 2


def test_only_the_process_of_a_run_ends_it(monitor: Monitor, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its end a forked child leaves the runs of its parent alone; the parent ends them."""
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        ending._end_all("finished", None)
    assert open_run(run).attrs["state"] == "running"
    ending._end_all("finished", None)
    assert open_run(run).attrs["state"] == "finished"
    assert group(run, "training").sizes == {"step": 2}
    monitor.close()
    assert monitor._end not in ending._open


def test_a_block_that_was_cut_off_is_interrupted(monitor: Monitor, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt at the moment in which the block is left does not make the run a finished one."""
    monkeypatch.setattr(Monitor, "__exit__", lambda *_: None)
    with monitor:
        pass
    ending._end_all("finished", None)
    tree = open_run(run)
    assert (tree.attrs["state"], tree.attrs["error"]) == ("interrupted", "interrupted after 2 updates")
