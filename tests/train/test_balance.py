"""Which process steps which tasks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from plastikit.train.balance import cores, shares, step_costs, worker_count
from plastikit.train.tasks import MT10, MT50


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_every_task_is_in_one_share_and_no_share_is_empty(count: int) -> None:
    """Nothing is stepped twice or not at all."""
    parts = shares(step_costs(MT10), count)
    assert sorted(itertools.chain(*parts)) == list(range(10))
    assert all(parts)
    assert len(parts) == count


def test_mt10_is_shared_as_well_as_it_can_be() -> None:
    """Two shares of MT10 come within a hundredth of the best of all divisions."""
    costs = np.array(step_costs(MT10))
    found = max(costs[part].sum() for part in shares(list(costs), 2))
    best = min(
        max(costs[list(part)].sum(), costs.sum() - costs[list(part)].sum())
        for size in range(1, 6)
        for part in itertools.combinations(range(10), size)
    )
    assert found <= 1.01 * best


@pytest.mark.parametrize("count", [2, 4, 16])
def test_shares_of_mt50_are_about_equal(count: int) -> None:
    """The largest share is at most a tenth above the mean."""
    costs = np.array(step_costs(MT50))
    assert max(costs[part].sum() for part in shares(list(costs), count)) <= 1.1 * costs.sum() / count


def test_equal_costs_come_to_an_end() -> None:
    """Exchanges that gain nothing are not made for ever."""
    assert sorted(len(part) for part in shares([1.0] * 7, 3)) == [2, 2, 3]
    assert sorted(len(part) for part in shares([0.0] * 4, 2)) == [2, 2]


def test_a_task_that_was_not_measured_costs_as_much_as_the_mean() -> None:
    """Any task can be shared out; a part costs what its whole does."""
    assert step_costs(["juggle-v3"])[0] == pytest.approx(np.mean(step_costs(MT50)))
    assert step_costs(["push-v3-2of3"]) == step_costs(["push-v3"])


def test_cheap_tasks_are_stepped_by_one_process() -> None:
    """Handing two pendulums over would cost more than stepping them."""
    assert worker_count(step_costs(["pendulum-1of2", "pendulum-2of2"])) == 1
    assert worker_count(step_costs(["reach-v3"])) == 1
    assert worker_count(step_costs(MT10)) == min(cores(), 10)
