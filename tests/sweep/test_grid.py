"""The plan of a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.sweep.grid import plan
from plastikit.sweep.shapes import of_widths, parameter_matched
from plastikit.train.config import ProbeSetConfig, SacConfig, TrainingConfig


def test_every_combination_once() -> None:
    """Two selections, two widths and three seeds make twelve runs of different names."""
    runs = plan(TrainingConfig(), tasks=["1", "3"], shapes=of_widths("plain", [32, 128]), seeds=[0, 1, 2])
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
    (run,) = plan(TrainingConfig(), tasks=["reach-v3+push-v3"], shapes=of_widths("plain", [8]), seeds=[0])
    assert run.config.task_names == ("reach-v3", "push-v3")


def test_draws_of_tasks_have_names_of_their_own() -> None:
    """Counts drawn with different task seeds may lie in one folder."""
    shapes = of_widths("plain", [8])
    runs = [plan(TrainingConfig(task_seed=seed), tasks=["3"], shapes=shapes, seeds=[0])[0] for seed in (0, 1, 2)]
    assert len({run.name for run in runs}) == 3


def test_what_was_published_with_an_architecture_goes_with_it() -> None:
    """MOORE's runs have its temperatures' step size, the multi-head runs beside them the baseline's."""
    common = TrainingConfig(sac=SacConfig(batch_size_per_task=7))
    moore, simple = plan(common, tasks=["MT10"], shapes=parameter_matched("multi_head", ["moore"]), seeds=[0])
    assert (moore.config.sac.alpha_learning_rate, moore.config.sac.log_std_min) == (1e-4, -10.0)
    assert (simple.config.sac.alpha_learning_rate, simple.config.sac.log_std_min) == (3e-4, -20.0)
    assert {run.config.sac.batch_size_per_task for run in (moore, simple)} == {7}
    assert moore.name == "MT10_moore_seed-0"


def test_all_runs_are_scored_on_the_states_of_tasks_that_all_of_them_have() -> None:
    """The probe set's tasks are the smallest draw's, as draws are nested, unless given or none is shared."""
    shapes = of_widths("plain", [8])
    runs = plan(TrainingConfig(), tasks=["1", "5", "MT50"], shapes=shapes, seeds=[0])
    (first,) = runs[0].config.task_names
    assert {run.config.probe_set.tasks for run in runs} == {first}

    given = TrainingConfig(probe_set=ProbeSetConfig(tasks="push-v3", samples=7))
    runs = plan(given, tasks=["MT10", "push-v3"], shapes=shapes, seeds=[0])
    assert {run.config.probe_set for run in runs} == {given.probe_set}

    apart = plan(TrainingConfig(), tasks=["reach-v3", "push-v3"], shapes=shapes, seeds=[0])
    assert {run.config.probe_set.tasks for run in apart} == {None}


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({"tasks": [], "widths": [8], "seeds": [0]}, "no tasks"),
        ({"tasks": ["1"], "widths": [], "seeds": [0]}, "no networks"),
        ({"tasks": ["1"], "widths": [8, 8], "seeds": [0]}, "twice"),
        ({"tasks": ["1"], "widths": [8], "seeds": []}, "no seeds"),
    ],
)
def test_an_axis_is_a_set(axes: dict[str, list[Any]], complaint: str) -> None:
    """An axis without entries, or with one twice, is refused."""
    shapes = of_widths("plain", axes["widths"])
    with pytest.raises(ConfigurationError, match=complaint):
        plan(TrainingConfig(), tasks=axes["tasks"], shapes=shapes, seeds=axes["seeds"])


def test_unknown_task_is_named() -> None:
    """A misspelt task is answered with the nearest there is, before anything runs."""
    with pytest.raises(UnknownNameError, match="reach-v3"):
        plan(TrainingConfig(), tasks=["rech-v3"], shapes=of_widths("plain", [8]), seeds=[0])
