"""Runs so small that a test can train one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plastikit.train.config import EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig

ConfigMaker = Callable[..., TrainingConfig]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the goals that the tests draw out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLASTIKIT_CACHE", str(folder))
        yield folder


@pytest.fixture
def light(tiny: ConfigMaker) -> ConfigMaker:
    """A maker of the same on two pendulums, which need no simulator and step ten times as fast."""

    def make(**changes: Any) -> TrainingConfig:
        return tiny(**({"tasks": "pendulum/2"} | changes))

    return make


@pytest.fixture
def tiny() -> ConfigMaker:
    """A maker of configurations: narrow networks, 60 steps on one task, 30 of them warm-up, one episode at the end."""

    def make(*, width: int = 8, depth: int = 2, architecture: str = "multi_head", **changes: Any) -> TrainingConfig:
        network = NetworkConfig(architecture=architecture, width=width, depth=depth)
        settings: dict[str, Any] = {
            "tasks": "reach-v3",
            "env_steps_per_task": 60,
            "actor": network,
            "critic": network,
            "sac": SacConfig(warm_up_vector_steps=30, batch_size_per_task=8),
            "evaluation": EvaluationConfig(interval_env_steps_per_task=1_000, episodes_per_task=1),
            "log_interval_vector_steps": 20,
            "threads": 1,
            "workers": 1,
        }
        return TrainingConfig(**(settings | changes))

    return make
