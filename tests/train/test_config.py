"""Every setting of a training run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.config import EvaluationConfig, NetworkConfig, SacConfig, TrainingConfig

PUBLISHED = {
    "learning_rate": 3e-4,
    "adam_epsilon": 1e-5,
    "gradient_clip_norm": 1.0,
    "initial_alpha": 1.0,
    "alpha_learning_rate": 3e-4,
    "target_entropy": None,
    "discount": 0.99,
    "target_update_rate": 0.005,
    "batch_size_per_task": 128,
    "replay_capacity_per_task": 100_000,
    "warm_up_vector_steps": 4_000,
    "log_std_min": -20.0,
    "log_std_max": 2.0,
    "actor_output_range": 1e-3,
    "critic_output_range": 3e-3,
    "has_task_weights": False,
}


def test_defaults_are_the_published_values() -> None:
    """Left alone, a run is the paper's multi-head baseline on MT10."""
    configuration = TrainingConfig().to_dict()
    assert configuration["sac"] == PUBLISHED
    assert configuration["actor"] == configuration["critic"] == {"architecture": "multi_head", "width": 400, "depth": 3}
    assert configuration["env_steps_per_task"] == 2_000_000
    assert configuration["evaluation"] == {"interval_env_steps_per_task": 20_000, "episodes_per_task": 50}
    assert configuration["environment"] == {
        "suite": "Meta-World v3",
        "reward_version": "v2",
        "horizon": 500,
        "goals_per_task": 50,
    }


def test_budgets_per_task_grow_with_the_task_count() -> None:
    """The published 2M steps per task make 20M environment steps on MT10."""
    assert TrainingConfig().env_steps == 20_000_000


def test_to_dict_is_json_with_the_comparable_settings_on_top() -> None:
    """Runs are told apart by names at the top level; actor and critic stand apart below."""
    config = TrainingConfig(
        tasks="3", task_seed=1, seed=4, actor=NetworkConfig(width=32), critic=NetworkConfig(width=64, depth=2)
    )
    configuration = json.loads(json.dumps(config.to_dict()))
    assert configuration["task_count"] == 3
    assert configuration["tasks"] == list(config.task_names)
    assert configuration["task_selection"] == "3"
    assert (configuration["width"], configuration["depth"], configuration["seed"]) == (64, 2, 4)
    assert configuration["architecture"] == "multi_head"
    assert configuration["actor"]["width"] == 32
    assert configuration["task_seed"] == 1


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: NetworkConfig(width=-5), ["width is -5", "at least 1"]),
        (lambda: NetworkConfig(depth=0), ["depth is 0", "at least 1"]),
        (lambda: NetworkConfig(width=2.5), ["width is 2.5", "whole number"]),  # type: ignore[arg-type]
        (lambda: SacConfig(learning_rate=0.0), ["learning_rate is 0.0", "above 0"]),
        (lambda: SacConfig(learning_rate=float("nan")), ["learning_rate is nan"]),
        (lambda: SacConfig(discount=1.5), ["discount is 1.5", "0 to 1"]),
        (lambda: SacConfig(target_entropy=float("inf")), ["target_entropy is inf", "finite"]),
        (lambda: SacConfig(log_std_min=3.0), ["log_std_min is 3.0", "below"]),
        (lambda: SacConfig(batch_size_per_task=0), ["batch_size_per_task is 0"]),
        (lambda: EvaluationConfig(episodes_per_task=0), ["episodes_per_task is 0"]),
        (lambda: TrainingConfig(seed=-1), ["seed is -1"]),
        (lambda: TrainingConfig(threads=0), ["threads is 0"]),
        (lambda: TrainingConfig(workers=0), ["workers is 0"]),
        (lambda: TrainingConfig(env_steps_per_task=4_000), ["env_steps_per_task is 4000", "warm-up"]),
    ],
)
def test_a_bad_setting_names_itself_and_what_it_may_be(build: object, words: list[str]) -> None:
    """The message holds what was found and what was expected."""
    assert callable(build)
    with pytest.raises(ConfigurationError) as caught:
        build()
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_architecture_lists_the_known() -> None:
    """A misspelt architecture is answered with the nearest."""
    with pytest.raises(UnknownNameError, match="multi_head"):
        NetworkConfig(architecture="multihead")


def test_an_unknown_task_fails_when_the_configuration_is_made() -> None:
    """Nothing is built before the tasks are known to exist."""
    with pytest.raises(UnknownNameError, match="reach-v3"):
        TrainingConfig(tasks="reech-v3")


def test_importing_the_configuration_loads_no_simulator_and_no_torch() -> None:
    """The command line can describe its options at once."""
    code = (
        "import sys, plastikit.train.config; print([m for m in ('torch', 'metaworld', 'mujoco') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
