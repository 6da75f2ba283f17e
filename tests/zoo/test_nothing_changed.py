"""Every model of the zoo trains to the same bits with a monitor and without, and nothing of the monitor stays."""

from __future__ import annotations

from pathlib import Path

import pytest

import plastikit
from plastikit import every
from zoo.cases import ZOO
from zoo.reckoning import probes

STEPS = 200
# Of four kinds of one model two are enough.
TRAINED = [name for name in ZOO if name not in {"gpt2 gelu eager", "gpt2 relu sdpa"}]


@pytest.mark.parametrize("name", TRAINED)
def test_bit_identical(name: str, tmp_path: Path) -> None:
    """Weights, gradients, buffers, optimizer state, random state, modes and versions after 200 steps, many watched."""
    alone = ZOO[name]()
    for number in range(STEPS):
        alone.step(number)
    watched = ZOO[name]()
    hooks = list(watched.traces())
    with plastikit.attach(
        watched.model, optimizer=watched.optimizers, store=tmp_path / "run.zarr", schedule=every(10), probes=probes()
    ):
        for number in range(STEPS):
            watched.step(number)
    state, expected = watched.state(), alone.state()
    assert {key for key, value in expected.items() if state[key] != value} == set()
    assert list(watched.traces()) == hooks
