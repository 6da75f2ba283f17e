"""Schedules are frozen values that answer for a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.errors import ConfigurationError
from plastikit.watch.attach import attach
from plastikit.watch.schedule import Budget, Schedule, at, budget, every, log_spaced, told


def test_every() -> None:
    """Each multiple is due, and no other step."""
    assert [step for step in range(21) if every(7)(step)] == [0, 7, 14]
    assert all(every(1)(step) for step in range(5))


def test_at() -> None:
    """The given steps are due, in any order and from any iterable."""
    assert [step for step in range(10) if at(step for step in (8, 2))(step)] == [2, 8]


@pytest.mark.parametrize("per_decade", [1, 3, 10])
def test_log_spaced_marks_each_decade_alike(per_decade: int) -> None:
    """A decade of large steps has as many due steps as asked for, beginning with the power of ten itself."""
    due = [step for step in range(10_000, 100_000) if log_spaced(per_decade)(step)]
    assert len(due) == per_decade
    assert due[0] == 10_000


def test_log_spaced_begins_at_zero() -> None:
    """Step 0 is due, and so is step 1."""
    assert [step for step in range(4) if log_spaced(1)(step)] == [0, 1]
    assert not log_spaced(1)(-10)


@pytest.mark.parametrize("make", [every, log_spaced])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
def test_a_count_below_one_is_refused(make: type, value: object) -> None:
    """The error names what was asked for and what to give."""
    with pytest.raises(ConfigurationError, match=r"whole number of at least 1"):
        make(value)


@pytest.mark.parametrize("steps", [[1.5], ["3"], [-1], 7, [True]])
def test_steps_that_are_none_are_refused(steps: object) -> None:
    """A step that can never come is an error, not a schedule that stays silent."""
    with pytest.raises(ConfigurationError, match=r"whole numbers"):
        at(steps)  # type: ignore[arg-type]


def test_schedules_are_values() -> None:
    """Equal schedules compare equal, and any of them is a Schedule."""
    assert every(5) == every(5)
    assert at([1, 2]) == at([2, 1])
    assert isinstance(log_spaced(2), Schedule)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, True, "1 %", float("nan")])
def test_a_budget_that_is_no_share_is_refused(fraction: object) -> None:
    """The error names what was asked for and what to give."""
    with pytest.raises(ConfigurationError, match=r"above 0 and up to 1"):
        budget(fraction)  # type: ignore[arg-type]


def test_a_budget_is_a_value() -> None:
    """Equal budgets compare equal; a budget is no function of the step."""
    assert budget(1) == Budget(1.0)
    assert not isinstance(budget(0.01), Schedule)


def _by_hand(step: int) -> bool:
    return step == 3


def test_schedules_in_words() -> None:
    """A run says a frozen schedule as it is written, and a function by its name, without an address."""
    assert told(every(5)) == "Every(steps=5)"
    assert told(budget(0.5)) == "Budget(fraction=0.5)"
    assert told(_by_hand).endswith("test_schedule._by_hand")


def test_costly_probes_join_some_records() -> None:
    """They have an interval of their own, a multiple of the records'; without one they join all."""
    schedule = every(10, costly=50)
    assert [step for step in range(101) if schedule(step) and schedule.is_whole(step)] == [0, 50, 100]
    assert all(every(10).is_whole(step) for step in range(0, 100, 10))
    with pytest.raises(ConfigurationError, match=r"every\(10, costly=25\).*a multiple of 10"):
        every(10, costly=25)


def test_records_between_hold_what_is_cheap(tmp_path: Path) -> None:
    """By default ranks are NaN at four records of five, and dormancy at none."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr"):
        for _ in range(601):
            optimizer.zero_grad()
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
    diagnostics = group(tmp_path / "run.zarr", "diagnostics")
    measured = diagnostics["srank"].sel(layer="1").notnull()
    assert diagnostics["step"][measured].values.tolist() == [0, 500]
    assert diagnostics["dormant_fraction"].notnull().all()
    assert diagnostics["step"].values.tolist() == list(range(0, 601, 100))


def test_every_says_when_it_is_due_next() -> None:
    """The first multiple from a step on, that step included."""
    assert [every(3).following(step) for step in range(5)] == [0, 3, 3, 3, 6]
