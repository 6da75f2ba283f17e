"""What was published for each architecture."""

from __future__ import annotations

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.train.config import NetworkConfig, SacConfig, TrainingConfig
from plastikit.train.published import ARCHITECTURES, MOST_FEW_TASKS, published_constants

SIZES = [
    ("multi_head", 10, (400, 3, None, None)),
    ("plain", 50, (400, 3, None, None)),
    ("soft_modules", 10, (256, 2, 2, 400)),
    ("soft_modules", 50, (256, 4, 4, 400)),
    ("paco", 10, (400, 3, 5, None)),
    ("paco", 50, (400, 3, 20, None)),
    ("moore", 10, (400, 3, 4, None)),
    ("moore", 50, (400, 3, 6, None)),
]


@pytest.mark.parametrize(("architecture", "tasks", "sizes"), SIZES)
def test_sizes_are_those_of_the_paper(
    architecture: str, tasks: int, sizes: tuple[int, int, int | None, int | None]
) -> None:
    """Width, depth, parts and embedding for MT10 and MT50."""
    config = NetworkConfig.published(architecture, tasks).completed(tasks)
    assert (config.width, config.depth, config.part_count, config.embedding_width) == sizes


def test_between_the_benchmarks_the_smaller_ones_hold_to_the_middle() -> None:
    """Up to 25 tasks the sizes of MT10, above it those of MT50."""
    for tasks, experts in ((1, 4), (MOST_FEW_TASKS, 4), (MOST_FEW_TASKS + 1, 6)):
        assert NetworkConfig.published("moore", tasks).completed(tasks).part_count == experts


def test_what_is_given_stays() -> None:
    """Neither a width nor a number of parts is replaced by the published one."""
    config = NetworkConfig(architecture="soft_modules", width=8, depth=5, part_count=3, embedding_width=9)
    assert config.completed(50) == config
    assert NetworkConfig.published("paco", 10, width=7, depth=1) == NetworkConfig(architecture="paco", width=7, depth=1)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"part_count": 3}, "multi_head has none; it is a setting of soft_modules, paco, moore"),
        ({"architecture": "paco", "embedding_width": 8}, "paco has none"),
        ({"architecture": "paco", "part_count": 0}, "part_count is 0"),
        ({"architecture": "soft_modules", "embedding_width": 0}, "embedding_width is 0"),
    ],
)
def test_settings_of_other_architectures_are_refused(settings: dict[str, int | str], complaint: str) -> None:
    """A setting that would change nothing, or that is no number of anything, is an error."""
    with pytest.raises(ConfigurationError, match=complaint):
        NetworkConfig(**settings)  # type: ignore[arg-type]


def test_unknown_architectures_are_named() -> None:
    """The nearest name is offered."""
    with pytest.raises(UnknownNameError, match="Did you mean soft_modules"):
        NetworkConfig.published("soft_moduls", 10)


def test_constants_are_those_of_the_paper() -> None:
    """MOORE's policy and temperatures, Soft Modules' task weights; the rest as the baseline."""
    assert {name: published_constants(name) for name in ARCHITECTURES} == {
        "multi_head": {},
        "plain": {},
        "soft_modules": {"has_task_weights": True},
        "paco": {},
        "moore": {"log_std_min": -10.0, "alpha_learning_rate": 1e-4},
    }
    assert SacConfig(**published_constants("moore")).log_std_max == 2.0


def test_a_run_records_the_sizes_that_were_published() -> None:
    """What was left open stands in the record as it was taken."""
    config = TrainingConfig(tasks="MT50", actor=NetworkConfig(architecture="paco"), critic=NetworkConfig())
    assert config.to_dict()["actor"] == {"architecture": "paco", "width": 400, "depth": 3, "part_count": 20}
    assert config.to_dict()["critic"] == {"architecture": "multi_head", "width": 400, "depth": 3}
