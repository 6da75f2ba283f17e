"""The light suite."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from plastikit.train.pendulum import Pendulum


def test_variants_are_spread_evenly_and_the_lone_one_is_gymnasiums() -> None:
    """Gravity, mass and length go from one end to the other."""
    found = [[kind.g, kind.m, kind.l] for kind in (Pendulum(number, 3) for number in (1, 2, 3))]
    assert np.allclose(found, [[8.0, 0.8, 1.1], [10.0, 1.0, 1.0], [12.0, 1.2, 0.9]])
    alone, theirs = Pendulum(1, 1), PendulumEnv()
    assert (alone.g, alone.m, alone.l) == (theirs.g, theirs.m, theirs.l)


def test_numbers_are_gymnasiums() -> None:
    """All but success is its pendulum's."""
    ours, theirs = Pendulum(1, 1), PendulumEnv()
    assert np.array_equal(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    for torque in np.linspace(-2.0, 2.0, 20, dtype=np.float32)[:, None]:
        found, wanted = ours.step(torque), theirs.step(torque)
        assert np.array_equal(found[0], wanted[0])
        assert found[1:4] == wanted[1:4]


@pytest.mark.parametrize(
    ("angle", "speed", "is_success"),
    [(0.0, 0.0, True), (2.0 * np.pi, 0.0, True), (0.0, 0.5, False), (0.3, 0.0, False), (np.pi, 0.0, False)],
)
def test_success_is_upright_and_nearly_still(angle: float, speed: float, *, is_success: bool) -> None:
    """Neither passing through the top nor resting elsewhere succeeds."""
    kind = Pendulum(2, 3)
    kind.reset(seed=0)
    kind.state = np.array([angle, speed])
    assert kind.step(np.zeros(1, dtype=np.float32))[4] == {"success": is_success}
