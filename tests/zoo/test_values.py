"""Every recorded value of every model of the zoo is what the same network gives when it is written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import plastikit
from plastikit import every
from zoo.cases import ZOO
from zoo.reckoning import assert_recorded, of_parameters, probes


@pytest.mark.parametrize("name", ZOO)
def test_records_equal_a_slow_recomputation(name: str, tmp_path: Path) -> None:
    """Features, their gradients and pre-activations, weights, gradients and updates, at the first steps."""
    training = ZOO[name]()
    training.is_noting = True
    with plastikit.attach(
        training.model, optimizer=training.optimizers, store=tmp_path / "run.zarr", schedule=every(2), probes=probes()
    ):
        for number in range(3):
            training.step(number)
    for step in (0, 2):
        moment = training.moments[step]
        expected = training.reckon(moment).expected("model")
        expected |= of_parameters(moment.before, moment.gradients, moment.after)
        assert_recorded(tmp_path / "run.zarr", step, expected)
    layers = plastikit.open_run(tmp_path / "run.zarr")["diagnostics"]["layer"].values
    assert set(layers) == expected["unit_activation"].keys()
    assert torch.overrides._get_current_function_mode() is None
