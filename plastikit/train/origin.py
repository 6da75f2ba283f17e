"""What a checkpoint says of its run's settings, and whether the run can be gone on with under those that are given."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import torch

from plastikit.errors import ConfigurationError
from plastikit.train.config import CheckpointConfig, TrainingConfig

MACHINE: Final = ("threads", "workers", "checkpoints")
"""Settings that may be others when a run is gone on with; how many threads compute may not, though."""

_PACKAGES: Final = ("plastikit", "torch", "numpy", "gymnasium", "metaworld", "mujoco")


def origin_of(config: TrainingConfig, device: torch.device, *, is_watched: bool) -> dict[str, Any]:
    """Say what a run is, for its checkpoints: settings, the threads that compute, and where it is computed."""
    return machine_of(device) | {
        "configuration": json.dumps(config.to_dict()),
        "threads": torch.get_num_threads(),
        "is_watched": is_watched,
    }


def machine_of(device: torch.device) -> dict[str, Any]:
    """Say where numbers are computed: the kind of device, the GPU's name, or None, and the packages' versions."""
    return {
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def resumed_config(config: TrainingConfig, origin: Mapping[str, Any], *, is_watched: bool) -> TrainingConfig:
    """Give the settings to go on with: those given, which are the run's but for the machine's, with the run's threads.

    Sums are rounded in another order with another number of threads, so that number has to stay; where ``threads`` is
    None it is the run's.

    Raises:
        ConfigurationError: a setting differs.
    """
    known, given = json.loads(origin["configuration"]), json.loads(json.dumps(config.to_dict()))
    for name in known | given:
        if name not in MACHINE and known.get(name) != given.get(name):
            raise _other_setting(*_narrowed(name, known.get(name), given.get(name)))
    if config.threads not in {None, origin["threads"]}:
        raise ConfigurationError(
            f"threads is {config.threads}, and the run computed with {origin['threads']}, which decides how sums are "
            "rounded; go on with as many, or leave threads out"
        )
    if is_watched != origin["is_watched"]:
        raise ConfigurationError(
            f"the run {'was' if origin['is_watched'] else 'was not'} recorded, and "
            f"{'a' if is_watched else 'no'} store is given; go on {'with' if origin['is_watched'] else 'without'} one"
        )
    return replace(config, threads=origin["threads"])


def recorded_settings(config: TrainingConfig, origin: Mapping[str, Any]) -> TrainingConfig:
    """Give ``config`` with the machine's settings that the run began with, as its record has them."""
    known = json.loads(origin["configuration"])
    return replace(
        config,
        threads=known["threads"],
        workers=known["workers"],
        checkpoints=CheckpointConfig(**known["checkpoints"]),
    )


def check_machine(origin: Mapping[str, Any], machine: Mapping[str, Any]) -> None:
    """Refuse another kind of device, and warn of another GPU and of packages of other versions.

    A GPU draws its random numbers in an order that depends on how many multiprocessors it has.

    Raises:
        ConfigurationError: the run was trained on another kind of device.
    """
    if origin["device"] != machine["device"]:
        raise ConfigurationError(
            f"the run was trained on {origin['device']}, and the device is {machine['device']} here, which rounds "
            f"otherwise; set device to {origin['device']!r} on a machine that has one"
        )
    before, now = ({"the GPU": told.get("gpu"), **told["versions"]} for told in (origin, machine))
    changed = [f"{name} was {before.get(name)}, is {now[name]}" for name in now if before.get(name) != now[name]]
    if changed:
        warnings.warn(
            f"the run goes on otherwise than it began ({'; '.join(changed)}), and may end with other numbers than it "
            "would have",
            stacklevel=2,
        )


def _other_setting(name: str, known: Any, given: Any) -> ConfigurationError:
    return ConfigurationError(
        f"the run was trained with other settings: {name} was {known!r} and is now {given!r}; go on with the same, or "
        "train anew"
    )


def _narrowed(name: str, known: Any, given: Any) -> tuple[str, Any, Any]:
    """The first entry that differs, where settings lie within settings."""
    if isinstance(known, dict) and isinstance(given, dict):
        for key in known | given:
            if known.get(key) != given.get(key):
                return f"{name}.{key}", known.get(key), given.get(key)
    return name, known, given


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
