"""What all runs of a sweep need, looked at before any of them begins."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import gymnasium
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from plastikit.errors import ConfigurationError
from plastikit.sweep.grid import PlannedRun, plan
from plastikit.sweep.requirements import devices_of
from plastikit.sweep.shapes import of_widths
from plastikit.train.config import ProbeSetConfig, TrainingConfig


def runs_with(**changes: object) -> list[PlannedRun]:
    """Two runs, the second of which is changed."""
    config = TrainingConfig(tasks="pendulum/2", device="cpu")
    first, second = plan(config, tasks=["pendulum/2"], shapes=of_widths("multi_head", (8, 16)), seeds=[0])
    return [first, replace(second, config=replace(second.config, **changes))]  # type: ignore[arg-type]


def test_what_can_be_begun_says_where_it_trains() -> None:
    """Nothing but the kind of device."""
    assert devices_of(runs_with()) == {"cpu"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA device")
def test_a_device_that_is_not_there_is_told() -> None:
    """One of the runs is enough."""
    with pytest.raises(ConfigurationError, match="finds 0 CUDA devices here"):
        devices_of(runs_with(device="cuda"))


def test_an_environment_that_cannot_be_made_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs there are of it, it is made once."""
    made = []

    def fail() -> NoReturn:
        made.append(True)
        raise RuntimeError("no arm")

    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", fail))
    with pytest.raises(ConfigurationError, match=r"'Own-v0'.* cannot be made .*RuntimeError: no arm"):
        devices_of([*runs_with(tasks="Own-v0"), *runs_with(tasks="Own-v0")])
    assert made == [True]


def test_a_probe_set_that_cannot_be_is_told() -> None:
    """Of fewer states than tasks."""
    with pytest.raises(ConfigurationError, match="1 states for 2 tasks"):
        devices_of(runs_with(probe_set=ProbeSetConfig(samples=1)))
