"""Which tasks a selection stands for."""

from __future__ import annotations

import sys

import pytest

from plastikit.errors import ConfigurationError, MissingExtraError, UnknownNameError
from plastikit.train.tasks import MT10, MT25, MT50, require_metaworld, resolve_tasks


@pytest.mark.parametrize(("name", "tasks"), [("MT10", MT10), ("mt25", MT25), (" MT50 ", MT50)])
def test_a_benchmark_is_its_tasks_in_order(name: str, tasks: tuple[str, ...]) -> None:
    """Benchmarks are known by name, whatever the case."""
    assert resolve_tasks(name) == tasks


def test_names_keep_the_order_given() -> None:
    """Order decides which head and one-hot entry a task has."""
    assert resolve_tasks("window-open-v3, reach-v3") == ("window-open-v3", "reach-v3")


def test_draws_of_one_seed_are_nested_and_of_two_seeds_differ() -> None:
    """A larger count adds tasks to a smaller one's."""
    five = resolve_tasks("5", task_seed=3)
    assert resolve_tasks("3", task_seed=3) == five[:3]
    assert resolve_tasks("5", task_seed=4) != five
    assert len(set(five)) == 5
    assert set(five) <= set(MT50)


def test_a_draw_stays_the_same_for_good() -> None:
    """Published runs name a count and a seed; the tasks that they mean must never change."""
    assert resolve_tasks("3", task_seed=0) == ("coffee-pull-v3", "button-press-wall-v3", "coffee-push-v3")


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    """A misspelt task costs one look at the message."""
    with pytest.raises(UnknownNameError, match="drawer-close-v3"):
        resolve_tasks("reach-v3,drawer-closed-v3")


@pytest.mark.parametrize("selection", ["0", "51", "-1", "", " , ", "reach-v3,reach-v3"])
def test_a_selection_of_nothing_too_much_or_twice_is_refused(selection: str) -> None:
    """A count lies in 1 to 50, and each task is named once."""
    with pytest.raises(ConfigurationError):
        resolve_tasks(selection)


def test_a_missing_simulator_is_one_line_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training without its extra fails before anything is built."""
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'plastikit\[train\]'") as caught:
        require_metaworld()
    assert "\n" not in str(caught.value)
