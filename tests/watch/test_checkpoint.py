"""Checkpoints measured afterwards hold the numbers that watching the same training held."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from plastikit.errors import ConfigurationError, StoreExistsError
from plastikit.record.dataset import open_run
from plastikit.watch.attach import attach
from plastikit.watch.checkpoint import measure_checkpoints
from plastikit.watch.schedule import every

PROBES = ["dormancy", "rank", "parameters"]
INTERVAL, STEPS = 5, 15


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))


def _train(folder: Path) -> tuple[list[Path], Tensor, Tensor]:
    """Train under watch, with a batch observed and a checkpoint saved every few steps."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    batch, groups = torch.randn(20, 3), torch.arange(20) % 2
    paths = []
    with attach(
        model, optimizer=optimizer, store=folder / "watched.zarr", probes=PROBES, schedule=every(INTERVAL)
    ) as monitor:
        for step in range(STEPS):
            if step % INTERVAL == 0:
                monitor.observe(batch, groups)
                paths.append(folder / f"saved_{step}.pt")
                torch.save(model.state_dict(), paths[-1])
            optimizer.zero_grad()
            model(torch.randn(16, 3)).square().mean().backward()
            optimizer.step()
    return paths, batch, groups


def test_the_same_numbers_as_watching(tmp_path: Path) -> None:
    """Every ``observed_`` variable and every norm of the parameters equals what the monitor recorded at that step."""
    paths, batch, groups = _train(tmp_path)
    done = []
    # In a wrong order, into a model of other weights: neither counts.
    found = measure_checkpoints(
        paths[::-1],
        _model().apply(lambda module: module.reset_parameters() if isinstance(module, nn.Linear) else None),
        batch,
        store=tmp_path / "measured.zarr",
        probes=PROBES,
        groups=groups,
        on_each=lambda count, of: done.append((count, of)),
    )
    assert [checkpoint.path for checkpoint in found] == paths
    assert done == [(1, 3), (2, 3), (3, 3)]
    watched = open_run(tmp_path / "watched.zarr")["diagnostics"].to_dataset()
    measured = open_run(tmp_path / "measured.zarr")["diagnostics"].to_dataset()
    assert measured["step"].values.tolist() == [0, 5, 10]
    expected = {name for name in watched.data_vars if str(name).startswith("observed_") or "weight" in str(name)}
    expected |= {name for name in watched.data_vars if "distance_from_init" in str(name)}
    assert expected <= set(measured.data_vars)
    assert not {"dormant_fraction", "srank"} & set(measured.data_vars)
    for name in expected:
        np.testing.assert_array_equal(measured[name].values, watched[name].values, err_msg=str(name))
        assert measured[name].attrs["definition"] == watched[name].attrs["definition"]
    assert (measured["layer"].values == watched["layer"].values).all()
    assert (measured["unit_layer"].values == watched["unit_layer"].values).all()
    assert float(measured["network_distance_from_init"][0, 0]) == 0
    assert float(measured["network_distance_from_init"][2, 0]) > 0
    assert "first of which" in measured["distance_from_init"].attrs["description"]


def test_the_run_says_what_it_was_made_of(tmp_path: Path) -> None:
    """File names and where the steps come from stand in it, an event for each file, and that it is finished."""
    paths, batch, _ = _train(tmp_path)
    measure_checkpoints(paths, _model(), batch, store=tmp_path / "measured.zarr")
    run = open_run(tmp_path / "measured.zarr")
    assert run.attrs["state"] == "finished"
    assert run.attrs["configuration"]["checkpoints"] == [path.name for path in paths]
    assert run.attrs["configuration"]["step_from"] == "file name"
    events = run["events"].to_dataset()
    assert events["message"].values.tolist() == [path.name for path in paths]
    assert events["event_step"].values.tolist() == [0, 5, 10]


def test_the_model_and_the_random_state_are_left_alone(tmp_path: Path) -> None:
    """Modes, random state and hooks are as before; only the weights are those of the last checkpoint."""
    paths, batch, _ = _train(tmp_path)
    model = _model()
    state = torch.get_rng_state()
    measure_checkpoints(paths, model, batch, store=tmp_path / "measured.zarr")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(model.state_dict()["0.weight"], torch.load(paths[-1])["0.weight"])


def test_nothing_is_written_where_something_does_not_fit(tmp_path: Path) -> None:
    """A checkpoint of another model, inputs of another shape, and a probe that training alone can show."""
    paths, batch, _ = _train(tmp_path)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other_20.pt")
    store = tmp_path / "measured.zarr"
    with pytest.raises(ConfigurationError, match=r"other_20.pt does not fit the model: missing"):
        measure_checkpoints([*paths, tmp_path / "other_20.pt"], _model(), batch, store=store)
    with pytest.raises(ConfigurationError, match=r"cannot be called with these inputs \(RuntimeError: mat1"):
        measure_checkpoints(paths, _model(), torch.ones(4, 7), store=store)
    with pytest.raises(ConfigurationError, match=r"the probe 'updates' looks at updates.*, which saved weights"):
        measure_checkpoints(paths, _model(), batch, store=store, probes=["rank", "updates"])
    assert not store.exists()


def test_a_run_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """A second run to the same place is refused, and the first is as it was."""
    paths, batch, _ = _train(tmp_path)
    measure_checkpoints(paths[:1], _model(), batch, store=tmp_path / "measured.zarr")
    with pytest.raises(StoreExistsError, match="exists already and is left untouched"):
        measure_checkpoints(paths, _model(), batch, store=tmp_path / "measured.zarr")
    assert open_run(tmp_path / "measured.zarr")["diagnostics"].sizes["step"] == 1


@pytest.mark.parametrize(("error", "state"), [(KeyboardInterrupt(), "interrupted"), (OSError("full"), "failed")])
def test_what_was_measured_is_kept(error: BaseException, state: str, tmp_path: Path) -> None:
    """Interrupted or failed on the way, the run holds the checkpoints done so far and says how it ended."""
    paths, batch, _ = _train(tmp_path)

    def stop(done: int, _of: int) -> None:
        if done == 2:
            raise error

    with pytest.raises(type(error)):
        measure_checkpoints(paths, _model(), batch, store=tmp_path / "measured.zarr", on_each=stop)
    assert json.loads((tmp_path / "measured.zarr/zarr.json").read_text())["attributes"]["state"] == state
    assert open_run(tmp_path / "measured.zarr")["diagnostics"].sizes["step"] == 2
