"""Several forwards between two updates: the critic inside the actor's loss, before its own update or after it."""

from __future__ import annotations

from pathlib import Path

import pytest

import plastikit
from plastikit import every
from zoo.loops import ActorCritic
from zoo.reckoning import Values, assert_recorded, of_parameters, probes

ORDERS = ("critic first", "actor first", "both backwards first")


@pytest.mark.parametrize("order", ORDERS)
def test_each_network_is_seen_in_its_own_loss(order: str, tmp_path: Path) -> None:
    """Features and their gradients are those of the loss that the network was updated for, not of the other's."""
    training = ActorCritic(order)
    training.is_noting = True
    with plastikit.attach(
        training.model, optimizer=training.optimizers, store=tmp_path / "run.zarr", schedule=every(2), probes=probes()
    ):
        for number in range(5):
            training.step(number)
    for step in (0, 2, 4):
        merged: Values = {}
        for name, moments in training.networks.items():
            moment = moments[step]
            values = training.reckon_network(name, moment).expected(name)
            for variable, row in (values | of_parameters(moment.before, moment.gradients, moment.after)).items():
                merged.setdefault(variable, {}).update(row)
        assert_recorded(tmp_path / "run.zarr", step, merged)


@pytest.mark.parametrize("order", ORDERS)
def test_bit_identical(order: str, tmp_path: Path) -> None:
    """Both networks, their optimizers and the target that is not watched end as they do without a monitor."""
    found = []
    for is_watched in (False, True):
        training = ActorCritic(order)
        if is_watched:
            monitor = plastikit.attach(
                training.model, optimizer=training.optimizers, store=tmp_path / "run.zarr", schedule=every(5)
            )
        for number in range(200):
            training.step(number)
        if is_watched:
            monitor.close()
        found.append((training.state(), [tensor.tolist() for tensor in training.target.parameters()]))
    assert found[0] == found[1]
    assert list(training.traces()) == []
