"""Acting without a network: Meta-World's scripted policies, or at random where a task has none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.suites import metaworld_task

if TYPE_CHECKING:
    from metaworld.policies.policy import Policy

Action = Float[NDArray[np.float32], "action"]

NOISE: Final = 0.5
"""Standard deviation of the noise on a scripted action, where actions are from -1 to 1."""


class Acting(Protocol):
    """What acts in one task."""

    def __call__(self, observation: Float[NDArray[np.float64], "feature"], generator: np.random.Generator) -> Action:
        """Choose an action; chance comes from ``generator`` alone."""
        ...


class ScriptedActing:
    """The scripted policy of a task of Meta-World or of a part of one, with normal noise on every action."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __call__(self, observation: Float[NDArray[np.float64], "feature"], generator: np.random.Generator) -> Action:
        """Do as the policy does, but not quite."""
        with warnings.catch_warnings():
            # Scripts ask for more than the most that an action can be, and mean that most.
            warnings.simplefilter("ignore", UserWarning)
            meant = np.clip(self._policy.get_action(observation), -1.0, 1.0)
        return np.clip(meant + NOISE * generator.standard_normal(meant.shape), -1.0, 1.0).astype(np.float32)


class RandomActing:
    """Uniform over all actions, whatever is observed."""

    def __init__(self, action_size: int) -> None:
        self._size = action_size

    def __call__(self, observation: Float[NDArray[np.float64], "feature"], generator: np.random.Generator) -> Action:
        """Draw an action."""
        del observation
        return generator.uniform(-1.0, 1.0, self._size).astype(np.float32)


def acting(task: str, action_size: int) -> Acting:
    """Give what acts in a task: its script, or chance where nobody wrote one."""
    known = metaworld_task(task)
    if known is None:
        return RandomActing(action_size)
    from metaworld.policies import ENV_POLICY_MAP

    script: Callable[[], Policy] = ENV_POLICY_MAP[known]
    return ScriptedActing(script())
