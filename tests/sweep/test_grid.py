"""The plan of a sweep."""

from __future__ import annotations

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.sweep.grid import plan
from plastikit.train.config import TrainingConfig


def test_every_combination_once() -> None:
    """Two selections, two widths and three seeds make twelve runs of different names."""
    runs = plan(TrainingConfig(), tasks=["1", "3"], widths=[32, 128], seeds=[0, 1, 2])
    assert len({run.name for run in runs}) == 12
    assert {(run.config.task_count, run.config.actor.width, run.config.critic.width) for run in runs} == {
        (1, 32, 32),
        (1, 128, 128),
        (3, 32, 32),
        (3, 128, 128),
    }
    assert {run.config.seed for run in runs} == {0, 1, 2}


def test_names_join_with_plus() -> None:
    """A set of named tasks is one entry of the axis."""
    (run,) = plan(TrainingConfig(), tasks=["reach-v3+push-v3"], widths=[8], seeds=[0])
    assert run.config.task_names == ("reach-v3", "push-v3")


def test_draws_of_tasks_have_names_of_their_own() -> None:
    """Counts drawn with different task seeds may lie in one folder."""
    names = {plan(TrainingConfig(task_seed=seed), tasks=["3"], widths=[8], seeds=[0])[0].name for seed in (0, 1, 2)}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({"tasks": [], "widths": [8], "seeds": [0]}, "no tasks"),
        ({"tasks": ["1"], "widths": [], "seeds": [0]}, "no width"),
        ({"tasks": ["1"], "widths": [8, 8], "seeds": [0]}, "twice"),
    ],
)
def test_an_axis_is_a_set(axes: dict[str, list[object]], complaint: str) -> None:
    """An axis without entries, or with one twice, is refused."""
    with pytest.raises(ConfigurationError, match=complaint):
        plan(TrainingConfig(), **axes)  # type: ignore[arg-type]  # the axes differ in type


def test_unknown_task_is_named() -> None:
    """A misspelt task is answered with the nearest there is, before anything runs."""
    with pytest.raises(UnknownNameError, match="reach-v3"):
        plan(TrainingConfig(), tasks=["rech-v3"], widths=[8], seeds=[0])
