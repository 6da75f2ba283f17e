"""A light suite: gymnasium's pendulum in variants that differ in gravity, mass and length."""

from __future__ import annotations

import math
from typing import Any, Final, SupportsFloat

import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray

from plastikit.train.parts import Part
from plastikit.train.tasks import PENDULUM

FloatArray = NDArray[np.float32]

GRAVITIES: Final = (8.0, 12.0)
"""Metres per second squared, of the first variant and of the last."""

MASSES: Final = (0.8, 1.2)
"""Kilograms."""

LENGTHS: Final = (1.1, 0.9)
"""Metres."""

UPRIGHT: Final = 0.1
"""Radians from upright within which a pendulum stands."""

STILL: Final = 0.2
"""Radians per second up to which it is nearly still."""


class Pendulum(PendulumEnv):
    """A variant: of ``count`` of them, the ``number``-th, with values spread evenly; a lone one lies in the middle.

    Success is standing upright and nearly still.
    """

    def __init__(self, number: int, count: int, render_mode: str | None = None) -> None:
        place = Part(PENDULUM, number, count).place
        gravity, mass, length = (first + place * (last - first) for first, last in (GRAVITIES, MASSES, LENGTHS))
        super().__init__(render_mode=render_mode, g=gravity)
        self.m, self.l = mass, length

    def step(self, u: FloatArray) -> tuple[FloatArray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Apply a torque, in newton metres from -2 to 2, for 0.05 s."""
        observation, reward, is_terminated, is_truncated, info = super().step(u)  # type: ignore[no-untyped-call]
        angle, speed = self.state
        is_upright = math.cos(angle) >= math.cos(UPRIGHT)
        return observation, reward, is_terminated, is_truncated, info | {"success": is_upright and abs(speed) <= STILL}
