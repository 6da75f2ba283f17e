"""Labels of many runs along one dimension: every label once, and every run's own found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plastikit.record.alignment import Axis, by_label, by_position


def _labels(values: list[Any]) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=object if isinstance(values[0], str) else None)


def _seen(axis: Axis, run: int, own: list[Any]) -> list[Any]:
    """What a run has at each joined position."""
    lookup = axis.lookups[run]
    positions = np.arange(axis.size) if lookup is None else lookup
    return [None if position < 0 else own[position] for position in positions]


def test_labels_that_are_alike_stay_as_they_are() -> None:
    """Their order is kept, and nothing is looked up."""
    axis = by_label([_labels(["b", "a"]), _labels(["b", "a"])])
    assert axis.labels is not None
    assert axis.labels.tolist() == ["b", "a"]
    assert axis.lookups == [None, None]


@pytest.mark.parametrize(
    ("runs", "joined"),
    [
        ([["b", "a"], ["c", "a"]], ["a", "b", "c"]),
        ([[0, 10, 20], [5, 10]], [0, 5, 10, 20]),
        ([[0.5, 0.1], [0.5], [0.2]], [0.1, 0.2, 0.5]),
        ([[7], [7, 8], [7]], [7, 8]),
    ],
)
def test_labels_that_differ_are_ordered(runs: list[list[Any]], joined: list[Any]) -> None:
    """All labels stand in their natural order, and each run's own are where its labels are."""
    axis = by_label([_labels(own) for own in runs])
    assert axis.labels is not None
    assert axis.labels.tolist() == joined
    for run, own in enumerate(runs):
        assert _seen(axis, run, own) == [label if label in own else None for label in joined]


def test_a_run_without_the_dimension() -> None:
    """It has nothing anywhere along it; where none of the runs has a label, there is no position."""
    axis = by_label([None, _labels([1, 2]), np.array([], dtype=np.int64)])
    assert _seen(axis, 0, []) == [None, None]
    assert _seen(axis, 2, []) == [None, None]
    assert axis.lookups[1] is None
    assert by_label([np.array([], dtype=np.int64)]).size == 0


def test_a_label_that_stands_twice() -> None:
    """A label that a run has twice is two positions, also where it is NaN: no value hides another."""
    for own, other, size in (([0.1, np.nan, np.nan], [0.1, np.nan], 3), ([3, 3, 5], [3, 4], 4)):
        axis = by_label([_labels(own), _labels(other)])
        assert axis.size == size
        first = axis.lookups[0]
        held = np.arange(axis.size) if first is None else first
        assert sorted(held[held >= 0].tolist()) == [0, 1, 2]


def test_labels_that_are_lost() -> None:
    """Those that no longer say where they belong are left out."""
    axis = by_label([_labels([0, 10, -1]), _labels([0, 10])], is_lost=lambda steps: steps < 0)
    assert axis.labels is not None
    assert axis.labels.tolist() == [0, 10]
    assert _seen(axis, 0, [0, 10, -1]) == [0, 10]
    alone = by_label([_labels([-2, 30])], is_lost=lambda steps: steps < 0)
    assert _seen(alone, 0, [-2, 30]) == [30]


def test_positions_without_names() -> None:
    """The shorter runs are padded at the end."""
    axis = by_position([2, 4, None])
    assert (axis.size, axis.labels) == (4, None)
    assert _seen(axis, 0, ["x", "y"]) == ["x", "y", None, None]
    assert axis.lookups[1] is None
    assert _seen(axis, 2, []) == [None] * 4
