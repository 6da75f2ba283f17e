"""Which tasks a selection stands for."""

from __future__ import annotations

import sys

import pytest

from plastikit.errors import ConfigurationError, MissingExtraError, UnknownNameError
from plastikit.train.tasks import MT10, MT25, MT50, require_simulators, resolve_tasks


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


def test_a_divided_task_is_its_parts() -> None:
    """Parts, wholes and single parts mix, and each is named once."""
    assert resolve_tasks("reach-v3/3, push-v3,pendulum-2of9") == (
        "reach-v3-1of3",
        "reach-v3-2of3",
        "reach-v3-3of3",
        "push-v3",
        "pendulum-2of9",
    )
    with pytest.raises(ConfigurationError, match="reach-v3-2of3 more than once"):
        resolve_tasks("reach-v3-2of3,reach-v3/3")


@pytest.mark.parametrize("selection", ["reach-v3/0", "push-v3,reach-v3/51", "reach-v3-2of51", "pendulum/51"])
def test_a_task_divides_into_no_more_parts_than_it_has_goals(selection: str) -> None:
    """A part without a goal would be no task."""
    with pytest.raises(ConfigurationError, match="1 to 50"):
        resolve_tasks(selection)


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        ("MT10/2", r"MT10/2 divides MT10, a suite of 10 tasks, which cannot be divided; .* as reach-v3/2"),
        ("mt50-1of2", "divides mt50, a suite of 50 tasks"),
        ("5/2", "divides 5, a count of tasks"),
        ("Pendulum-v1/2", "divides Pendulum-v1, an environment of gymnasium"),
        ("zoo.pendulums:Falling-v0-1of2", "divides zoo.pendulums:Falling-v0, an environment of gymnasium"),
    ],
)
def test_what_has_no_parts_is_not_divided(selection: str, told: str) -> None:
    """The message says what it is, and what can be divided."""
    with pytest.raises(ConfigurationError, match=told):
        resolve_tasks(selection)


def test_a_misspelt_task_that_is_divided_is_answered_with_the_nearest() -> None:
    """Divided likewise."""
    with pytest.raises(UnknownNameError, match=r"'rech-v3/2'\. Did you mean reach-v3/2"):
        resolve_tasks("rech-v3/2")
    with pytest.raises(UnknownNameError, match="Did you mean reach-v3-1of4"):
        resolve_tasks("push-v3,rech-v3-1of4")


@pytest.mark.parametrize(("selection", "name"), [("MT10,reach-v3", "MT10"), ("reach-v3, 3", "3")])
def test_a_set_of_tasks_stands_alone(selection: str, name: str) -> None:
    """Beside others it is no task whose name is not known."""
    with pytest.raises(ConfigurationError, match=f"in which {name} stands for a set of tasks"):
        resolve_tasks(selection)


def test_environments_of_gymnasium_are_tasks() -> None:
    """By the name that they are registered under, or that a module registers."""
    assert resolve_tasks("Pendulum-v1,zoo.pendulums:Falling-v0") == ("Pendulum-v1", "zoo.pendulums:Falling-v0")
    with pytest.raises(UnknownNameError, match=r"Did you mean .*Pendulum-v1"):
        resolve_tasks("Pendulum-v7")
    with pytest.raises(ConfigurationError, match=r"names Falling-v0 more than once"):
        resolve_tasks("zoo.pendulums:Falling-v0,Falling-v0")


def test_an_environment_of_ones_own_is_named_with_its_module() -> None:
    """Whoever names it without learns that, whoever misspelt a task of Meta-World is not bothered."""
    with pytest.raises(UnknownNameError, match=r"module that registers it, module:Mine-v0, so that every process"):
        resolve_tasks("Mine-v0")
    with pytest.raises(UnknownNameError, match=r"module zoo\.pendulums was imported, and registers no 'Mine-v0'"):
        resolve_tasks("zoo.pendulums:Mine-v0")
    for other in ("rech-v3", "MT100"):
        with pytest.raises(UnknownNameError, match="Did you mean") as caught:
            resolve_tasks(other)
        assert "module" not in str(caught.value)


@pytest.mark.parametrize(
    "selection", ["reach-v3 push-v3", "reach-v3;push-v3", "5;6", "window-open-v3, reach-v3 push-v3"]
)
def test_names_without_a_comma_between_them_are_told_of_it(selection: str) -> None:
    """A blank or a semicolon makes one name of two."""
    with pytest.raises(UnknownNameError, match=r"commas separate names, as in reach-v3,push-v3\.$"):
        resolve_tasks(selection)


def test_without_gymnasium_its_names_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for tasks imports nothing that may be missing."""
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "plastikit.train.gymnasium_environment", raising=False)
    assert resolve_tasks("pendulum/2,reach-v3") == ("pendulum-1of2", "pendulum-2of2", "reach-v3")
    with pytest.raises(UnknownNameError, match="Pendulum-v1"):
        resolve_tasks("Pendulum-v1")
    with pytest.raises(MissingExtraError, match=r"the task zoo\.pendulums:Falling-v0 needs the extra 'train'"):
        resolve_tasks("zoo.pendulums:Falling-v0")


@pytest.mark.parametrize(("module", "task"), [("metaworld", "reach-v3-1of2"), ("gymnasium", "pendulum-1of2")])
def test_a_missing_simulator_is_one_line_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, module: str, task: str
) -> None:
    """Training without its extra fails before anything is built."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'plastikit\[train\]'") as caught:
        require_simulators(["pendulum-2of2", task])
    assert "\n" not in str(caught.value)


def test_meta_world_is_asked_for_by_its_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other suites do without it."""
    monkeypatch.setitem(sys.modules, "metaworld", None)
    require_simulators(["pendulum-1of2", "Pendulum-v1"])
