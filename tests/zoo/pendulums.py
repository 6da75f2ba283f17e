"""Pendulums as a user may register them with gymnasium: by importing this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.spaces import Box

from plastikit.train.pendulum import Pendulum

Begun = tuple[np.ndarray, dict[str, Any]]
Told = tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]


class Falling(PendulumEnv):
    """Terminates, at a moment that actions and reset decide: once it is faster than 3 radians per second."""

    def step(self, u: np.ndarray) -> Told:
        """Fall, and tell of success under the other name."""
        observation, reward, *_ = super().step(u)  # type: ignore[no-untyped-call]
        is_fast = abs(self.state[1]) > 3.0
        return observation, reward, bool(is_fast), False, {"is_success": is_fast}


class Drifting(PendulumEnv):
    """Is longer with each reset, which no seed decides."""

    resets = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Begun:
        """Grow."""
        Drifting.resets += 1
        self.l = 1.0 + 0.1 * Drifting.resets
        return super().reset(seed=seed, options=options)  # type: ignore[no-untyped-call, no-any-return]


class Strong(PendulumEnv):
    """Has twice the torque."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-4.0, 4.0, (1,), np.float32)


class Unbounded(PendulumEnv):
    """Takes any torque."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-np.inf, np.inf, (1,), np.float32)


class Double(PendulumEnv):
    """Observes the same numbers as float64."""

    def __init__(self) -> None:
        super().__init__()
        space = self.observation_space
        self.observation_space = Box(space.low.astype(np.float64), space.high.astype(np.float64), dtype=np.float64)  # type: ignore[attr-defined]


for kind in (Falling, Drifting, Strong, Unbounded, Double):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)


def swing_up(count: int) -> Callable[[np.ndarray], np.ndarray]:
    """A policy that brings all of ``pendulum/count`` upright: energy first, then held at the top."""
    kinds = [Pendulum(number, count) for number in range(1, count + 1)]
    pull = np.array([kind.g / kind.l for kind in kinds])
    push = np.array([2.0 * 3.0 / (kind.m * kind.l**2) for kind in kinds])

    def act(observation: np.ndarray) -> np.ndarray:
        height, side, speed = observation.T
        energy = speed**2 / (3.0 * pull) + height - 1.0
        held = -(2.25 * pull * np.arctan2(side, height) + 6.0 * speed) / push
        is_near = (height > 0.8) & (np.abs(energy) < 0.3)
        return np.clip(np.where(is_near, held, -np.sign(energy * speed)), -1.0, 1.0)[:, None].astype(np.float32)

    return act
