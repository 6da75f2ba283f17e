"""What tasks of one run have in common."""

from __future__ import annotations

import warnings

import pytest

from plastikit.train.config import TrainingConfig
from plastikit.train.overlap import overlaps, warn_of_overlaps
from plastikit.train.parts import Part
from plastikit.train.pendulum import Pendulum
from plastikit.train.tasks import MT50, resolve_tasks


def test_goals_in_common_are_counted() -> None:
    """Of a part and its whole, and of parts of two divisions; fifty parts have one goal each."""
    assert overlaps(["reach-v3-1of4", "push-v3", "reach-v3"]) == ["reach-v3-1of4 and reach-v3 share 12 of 50 goals"]
    assert overlaps(["reach-v3-1of4", "reach-v3-1of2", "reach-v3-2of2", "push-v3-1of2"]) == [
        "reach-v3-1of4 and reach-v3-1of2 share 12 of 50 goals"
    ]
    assert overlaps(["reach-v3-2of3", "reach-v3-1of2"]) == ["reach-v3-2of3 and reach-v3-1of2 share 9 of 50 goals"]
    assert overlaps(["reach-v3", "reach-v3-50of50"]) == ["reach-v3 and reach-v3-50of50 share 1 of 50 goals"]


@pytest.mark.parametrize("selection", ["reach-v3/7", "pendulum/50", "reach-v3/4,push-v3/2", "Pendulum-v1,pendulum/3"])
def test_parts_of_one_division_share_nothing(selection: str) -> None:
    """Nor do tasks of different wholes."""
    assert not overlaps(resolve_tasks(selection))
    assert not overlaps(MT50)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [((1, 2), (1, 4), True), ((2, 3), (3, 5), True), ((1, 1), (2, 3), True), ((2, 3), (2, 4), False)],
)
def test_pendulums_are_one_and_the_same_where_they_stand_at_one_place(
    first: tuple[int, int], second: tuple[int, int], *, is_same: bool
) -> None:
    """What is told of two is what gravity, mass and length say."""
    names = [Part("pendulum", *each).name for each in (first, second)]
    told = [f"{names[0]} and {names[1]} are one and the same pendulum"]
    assert overlaps(names) == (told if is_same else [])
    one, other = (Pendulum(*each) for each in (first, second))
    assert ((one.g, one.m, one.l) == (other.g, other.m, other.l)) == is_same


def test_whoever_sets_up_a_run_is_told() -> None:
    """Three pairs at most, and how many there are; once."""
    warn_of_overlaps.cache_clear()
    with pytest.warns(UserWarning, match="overlap: reach-v3-1of4 and reach-v3 share 12 of 50 goals. They are trained"):
        TrainingConfig(tasks="reach-v3-1of4,reach-v3")
    with pytest.warns(UserWarning, match=r"reach-v3-3of4 share 12 of 50 goals; and so on, 4 pairs in all\."):
        TrainingConfig(tasks="reach-v3,reach-v3/4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainingConfig(tasks="reach-v3,reach-v3/4", seed=1)
        TrainingConfig(tasks="reach-v3/4,push-v3")
