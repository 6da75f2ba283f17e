"""Settings read back from a run's record."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from plastikit.errors import ConfigurationError
from plastikit.train.config import NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.recorded import recorded_config


@pytest.mark.parametrize("tasks", ["MT10", "3", "reach-v3,push-v3"])
@pytest.mark.parametrize("architecture", ["multi_head", "soft_modules", "moore"])
def test_what_is_read_back_is_what_was_written(tasks: str, architecture: str) -> None:
    """By way of JSON, every setting comes back; what was left to the published sizes comes back as those."""
    network = NetworkConfig.published(architecture, 3, width=32)
    config = TrainingConfig(
        tasks=tasks, seed=7, actor=network, critic=replace(network, width=16), sac=SacConfig(discount=0.9), threads=2
    )
    read = recorded_config(json.loads(json.dumps(config.to_dict())))
    completed = {name: getattr(config, name).completed(config.task_count) for name in ("actor", "critic")}
    assert read == replace(config, **completed)


def test_what_an_older_record_lacks_is_at_its_default() -> None:
    """A record without settings that came later is read."""
    recorded = TrainingConfig(seed=5).to_dict()
    for name in ("device", "checkpoints", "probe_set"):
        del recorded[name]
    assert recorded_config(recorded) == TrainingConfig(seed=5)


def test_a_record_of_something_else_is_refused() -> None:
    """A run of the user's own model names no settings of a training."""
    with pytest.raises(ConfigurationError, match="no settings of a training by plastikit"):
        recorded_config({"width": 400})
