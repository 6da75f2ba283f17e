"""The settings of a run, read back from its record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from plastikit.errors import ConfigurationError
from plastikit.train.config import (
    CheckpointConfig,
    EvaluationConfig,
    NetworkConfig,
    ProbeSetConfig,
    SacConfig,
    TrainingConfig,
)
from plastikit.watch.schedule import Every, every

Settings = TypeVar("Settings")

_PARTS: Final = {
    "actor": NetworkConfig,
    "critic": NetworkConfig,
    "sac": SacConfig,
    "evaluation": EvaluationConfig,
    "checkpoints": CheckpointConfig,
    "probe_set": ProbeSetConfig,
}


def recorded_config(recorded: Mapping[str, Any]) -> TrainingConfig:
    """Give the configuration that ``TrainingConfig.to_dict`` wrote into a run's record.

    What the record does not tell, as one of an older version may not, is at its default.

    Raises:
        ConfigurationError: the record is not one of a training by plastikit.

    >>> config = TrainingConfig(tasks="reach-v3,push-v3", seed=3)
    >>> recorded_config(config.to_dict()).to_dict() == config.to_dict()
    True
    """
    if "task_selection" not in recorded or "env_steps_per_task" not in recorded:
        raise ConfigurationError(
            "the run's record holds no settings of a training by plastikit; give a run that plastikit train or "
            "plastikit sweep has written"
        )
    parts: dict[str, Any] = {name: _of(kind, recorded[name]) for name, kind in _PARTS.items() if name in recorded}
    plain = {name: value for name, value in recorded.items() if name not in _PARTS and name != "tasks"}
    return _of(TrainingConfig, {**plain, **parts, "tasks": recorded["task_selection"]})


def recorded_schedule(recorded: Mapping[str, Any]) -> Every:
    """Give the schedule that a run was looked at by.

    Raises:
        ConfigurationError: it is one that only Python can say again.

    >>> recorded_schedule({"schedule": "Every(steps=100, costly=500)"})
    Every(steps=100, costly=500)
    """
    told = str(recorded.get("schedule"))
    found = re.fullmatch(r"Every\(steps=(\d+)(?:, costly=(\d+))?\)", told)
    if found is None:
        raise ConfigurationError(
            f"the run's schedule is {told}, which is none of the command line's; go on with it in Python: "
            "train(config, store=..., schedule=..., checkpoints=..., resume=True)"
        )
    steps, costly = found.groups()
    return every(int(steps), costly=None if costly is None else int(costly))


def _of(kind: type[Settings], told: Mapping[str, Any]) -> Settings:
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # every kind is a dataclass
    return kind(**{name: value for name, value in told.items() if name in known})
