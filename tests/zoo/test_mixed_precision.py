"""Mixed precision: a step that the scaler leaves out is no update, and its gradients are no record's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plastikit
from plastikit import every
from zoo.loops import scaled
from zoo.reckoning import assert_recorded, of_parameters, probes
from zoo.training import Moment, Training


def _trained(path: Path, **options: Any) -> tuple[Training, plastikit.Monitor]:
    training = scaled(scale=2.0**40, **options)
    training.is_noting = True
    with plastikit.attach(
        training.model, optimizer=training.optimizers, store=path, schedule=every(1), probes=probes()
    ) as monitor:
        for number in range(36):
            training.step(number)
    return training, monitor


def test_steps_that_are_left_out_are_no_updates(tmp_path: Path) -> None:
    """The first record is of the first update that was done, on its batch and with its gradients unscaled."""
    training, monitor = _trained(tmp_path / "run.zarr")
    done = [moment for moment in training.moments if _moved(moment)]
    assert 0 < len(done) < 36
    assert monitor.steps == len(done)
    for step in (0, 1, len(done) - 1):
        expected = training.reckon(done[step]).expected("model")
        expected |= of_parameters(done[step].before, done[step].gradients, done[step].after)
        assert_recorded(tmp_path / "run.zarr", step, expected)


def test_a_fused_optimizer_leaves_steps_out_by_itself(tmp_path: Path) -> None:
    """It hears of them, so they count, and what could not be unscaled is NaN; the others are as they should be."""
    training, monitor = _trained(tmp_path / "run.zarr", is_fused=True)
    assert monitor.steps == 36
    diagnostics = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]
    for step in (0, 35):
        moment = training.moments[step]
        if _moved(moment):
            expected = training.reckon(moment).expected("model")
            expected |= of_parameters(moment.before, moment.gradients, moment.after)
            assert_recorded(tmp_path / "run.zarr", step, expected)
        else:
            assert not np.isfinite(diagnostics["gradient_norm"].sel(step=step).values).all()
            assert diagnostics["update_to_weight_ratio"].sel(step=step).values.max() == 0


def _moved(moment: Moment) -> bool:
    return any(not moment.before[name].equal(after) for name, after in moment.after.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_on_cuda(tmp_path: Path) -> None:
    """The records of a model on a graphics card are those of the same model on the processor."""
    from zoo import models_convolution as convolution

    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = convolution.Residual().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        path = tmp_path / f"{device}.zarr"
        with plastikit.attach(model, optimizer=optimizer, store=path, schedule=every(1), probes=probes()):
            for number in range(4):
                torch.manual_seed(number)
                inputs = torch.randn(4, 2, 6, 6).to(device)
                optimizer.zero_grad()
                model(inputs).square().mean().backward()
                optimizer.step()
        found.append(plastikit.open_run(path)["diagnostics"].to_dataset().load())
    for variable in ("unit_activation", "unit_gradient", "weight_norm", "gradient_norm", "effective_rank"):
        np.testing.assert_allclose(found[1][variable], found[0][variable], rtol=1e-3, atol=1e-6)
