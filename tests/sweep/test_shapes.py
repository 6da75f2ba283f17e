"""Which networks a sweep compares."""

from __future__ import annotations

import pytest

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.sweep.shapes import actor_against_critic, of_widths, parameter_matched
from plastikit.train.tasks import MT10, MT50


def test_widths_are_those_of_actor_and_critics() -> None:
    """One shape for each width, as deep as published for the number of tasks."""
    shapes = of_widths("soft_modules", [32, 64])
    assert [(shape.label, shape.actor.width, shape.critic.width, shape.actor.depth) for shape in shapes(MT10)] == [
        ("width-32", 32, 32, 2),
        ("width-64", 64, 64, 2),
    ]
    assert {shape.critic.depth for shape in shapes(MT50)} == {4}
    assert {shape.critic.depth for shape in of_widths("plain", [32], depth=5)(MT50)} == {5}


def test_every_actor_meets_every_critic() -> None:
    """Two widths of the actor and two of the critics make four shapes."""
    shapes = actor_against_critic("multi_head", [8, 16], [16, 32])(MT10[:3])
    assert {(shape.actor.width, shape.critic.width) for shape in shapes} == {(8, 16), (8, 32), (16, 16), (16, 32)}
    assert shapes[1].label == "actor-8_critic-32"


def test_each_architecture_stands_beside_its_match() -> None:
    """The published network first, then a simple one whose actor and critics each learn about as many numbers."""
    shapes = parameter_matched("multi_head", ["soft_modules", "moore"])(MT10)
    assert [(shape.label, shape.actor.width, shape.critic.width) for shape in shapes] == [
        ("soft_modules", 256, 256),
        ("multi_head-as-soft_modules", 556, 571),
        ("moore", 400, 400),
        ("multi_head-as-moore", 798, 808),
    ]
    assert {shape.actor.architecture for shape in shapes[1::2]} == {"multi_head"}


def test_a_depth_is_that_of_the_match() -> None:
    """The simple network takes it; the one it is compared with stays as published."""
    network, match = parameter_matched("multi_head", ["paco"], depth=4)(MT10)
    assert (network.actor.depth, match.actor.depth, match.actor.width) == (3, 4, 731)


def test_the_match_is_simple_and_the_rest_is_known() -> None:
    """Neither a match made of parts nor an unknown architecture is planned."""
    with pytest.raises(ConfigurationError, match="give multi_head or plain"):
        parameter_matched("moore", ["paco"])
    with pytest.raises(UnknownNameError, match="Did you mean paco"):
        parameter_matched("plain", ["pacco"])(MT10)
