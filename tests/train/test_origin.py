"""Under which settings a run can be gone on with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from plastikit.errors import ConfigurationError
from plastikit.train.config import CheckpointConfig, TrainingConfig
from plastikit.train.origin import check_machine, machine_of, origin_of, recorded_settings, resumed_config

ConfigMaker = Callable[..., TrainingConfig]

CPU = torch.device("cpu")


def test_the_machines_settings_may_differ(light: ConfigMaker) -> None:
    """Workers and checkpoints are those given; threads are the run's where they are left open; the record's stay."""
    config = light(threads=None)
    origin = origin_of(config, CPU, is_watched=True)
    given = replace(config, workers=7, checkpoints=CheckpointConfig(interval_seconds=1.0))
    resumed = resumed_config(given, origin, is_watched=True)
    assert resumed == replace(given, threads=torch.get_num_threads())
    assert recorded_settings(resumed, origin) == config


def test_other_settings_are_refused_by_the_name_of_the_first(light: ConfigMaker) -> None:
    """Also where they lie within settings; so are another number of threads, and a record that is or is not there."""
    config = light(threads=None)
    origin = origin_of(config, CPU, is_watched=True)
    for changes, message in (
        ({"tasks": "pendulum/3"}, r"task_count was 2 and is now 3"),
        ({"actor": replace(config.actor, width=9)}, r"actor.width was 8 and is now 9; go on with the same"),
        ({"threads": torch.get_num_threads() + 1}, r"the run computed with \d+, which decides"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            resumed_config(replace(config, **changes), origin, is_watched=True)
    with pytest.raises(ConfigurationError, match=r"was recorded, and no store is given; go on with one"):
        resumed_config(config, origin, is_watched=False)


def test_another_machine_is_told(light: ConfigMaker) -> None:
    """Packages of other versions and another GPU are warned of; another kind of device is refused."""
    origin, machine = origin_of(light(), CPU, is_watched=False), machine_of(CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_machine(origin, machine)
    older = origin | {"versions": origin["versions"] | {"torch": "1.0"}}
    with pytest.warns(UserWarning, match=r"otherwise than it began \(torch was 1.0, is [^;]*\), and may end"):
        check_machine(older, machine)
    large, small = ({"device": "cuda", "gpu": name} for name in ("NVIDIA H100", "NVIDIA L4"))
    with pytest.warns(UserWarning, match=r"\(the GPU was NVIDIA H100, is NVIDIA L4\)"):
        check_machine(origin | large, machine | small)
    with pytest.raises(ConfigurationError, match=r"trained on cuda, and the device is cpu"):
        check_machine(origin | large, machine)
