"""A task divided into parts."""

from __future__ import annotations

import itertools

import pytest

from plastikit.train.parts import Part, division, part, whole


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


def test_a_division_is_a_whole_and_a_number() -> None:
    """Anything else after the slash belongs to the name."""
    assert division("reach-v3/4") == ("reach-v3", 4)
    assert division("ALE/Pong-v5") is None
