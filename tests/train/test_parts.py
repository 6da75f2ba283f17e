"""A task divided into parts."""

from __future__ import annotations

import itertools

import pytest

from plastikit.errors import ConfigurationError
from plastikit.train.config import GOALS_PER_TASK
from plastikit.train.parts import MOST_PARTS, Part, part, parts_named, whole

WHOLES = ("reach-v3", "pendulum")


@pytest.mark.parametrize("count", [1, 3, 4, 7, 50])
def test_parts_share_everything_out_and_differ_by_one_at_most(count: int) -> None:
    """Each item is in one part, beside its neighbours."""
    shares = [Part("reach-v3", number, count).share(range(50)) for number in range(1, count + 1)]
    assert list(itertools.chain(*shares)) == list(range(50))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(shares)


def test_a_parts_name_is_read_back() -> None:
    """Names and parts stand for each other."""
    assert part(Part("push-wall-v3", 7, 12).name) == Part("push-wall-v3", 7, 12)
    assert whole("push-wall-v3-7of12") == "push-wall-v3"


@pytest.mark.parametrize(
    "name", ["reach-v3", "reach-v3-0of4", "reach-v3-5of4", "reach-v3-01of4", "-1of4", "reach-v3-1of"]
)
def test_other_names_are_no_parts(name: str) -> None:
    """A part is one of as many as there are."""
    assert part(name) is None
    assert whole(name) == name


def test_a_division_is_all_of_its_parts_and_a_part_is_itself() -> None:
    """Names that begin with no whole are none of them."""
    assert parts_named("pendulum/3", WHOLES) == ("pendulum-1of3", "pendulum-2of3", "pendulum-3of3")
    assert parts_named("reach-v3-3of3", WHOLES) == ("reach-v3-3of3",)
    for name in ("reach-v3", "ALE/Pong-v5", "push-v3/2", "push-v3-1of2", "push-v3-1of"):
        assert parts_named(name, WHOLES) is None
    assert len(parts_named(f"reach-v3/{MOST_PARTS}", WHOLES) or ()) == MOST_PARTS == GOALS_PER_TASK


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("reach-v3/0", "reach-v3/0 asks for 0 parts of reach-v3; a number from 1 to 50 was expected"),
        ("reach-v3/60", "reach-v3/60 asks for 60 parts of reach-v3; a number from 1 to 50 was expected"),
        ("pendulum/51", "asks for 51 parts of pendulum; .* expected, the most that anything divides into"),
        ("pendulum/0", "pendulum/0 asks for 0 parts of pendulum; .* Give one, as in pendulum/4"),
        ("reach-v3/", "asks for '' parts"),
        ("reach-v3/-2", "asks for '-2' parts"),
        ("reach-v3/2/2", "asks for '2/2' parts"),
        ("reach-v3-1of60", "asks for 60 parts"),
        ("reach-v3-1of0", "asks for 0 parts"),
        ("reach-v3-5of4", "names part 5 of 4, and the parts are reach-v3-1of4 to reach-v3-4of4.* or all as reach-v3/4"),
        ("pendulum-0of3", "names part 0 of 3, and the parts are pendulum-1of3 to pendulum-3of3"),
        ("reach-v3-1of", "reach-v3-1of asks for '' parts of reach-v3"),
        ("reach-v3-1of 4x", "asks for '4x' parts"),
        ("reach-v3-1 of 4", "reach-v3-1 of 4 names part 1 of 4, and the parts are reach-v3-1of4 to"),
        ("reach-v3-02of4", "names part 02 of 4"),
    ],
)
def test_a_part_that_there_is_not_is_told_with_those_that_there_are(name: str, told: str) -> None:
    """What was found, what there is, and what to write."""
    with pytest.raises(ConfigurationError, match=told):
        parts_named(name, WHOLES)
