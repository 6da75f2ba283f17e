"""Meta-World's simulators, as plastikit uses them."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.config import REWARD_VERSION

if TYPE_CHECKING:
    from gymnasium.spaces import Box
    from metaworld.sawyer_xyz_env import SawyerXYZEnv

FloatArray = NDArray[np.float64]

COMPARED: Final = frozenset({"3.1.1"})
"""The versions of Meta-World whose methods were compared with the faster ones; any other steps as it is."""


def goal_box(environment: SawyerXYZEnv) -> tuple[Float[FloatArray, "number"], Float[FloatArray, "number"]]:
    """Give the lowest and the highest numbers that a simulator's goals are drawn between."""
    box = cast("Box", environment._random_reset_space)  # noqa: SLF001  there is no public way
    return box.low.astype(np.float64), box.high.astype(np.float64)


def simulator(task: str) -> SawyerXYZEnv:
    """Make a task's simulator; it has no goal yet, and steps as Meta-World's own does, only faster.

    Cost: 0.15 to 0.3 s, since MuJoCo compiles the task's model.
    """
    return _kind(task)(reward_function_version=REWARD_VERSION)


def _kind(task: str) -> type[SawyerXYZEnv]:
    if version("metaworld") in COMPARED:
        from plastikit.train.fast_simulator import fast_class

        return fast_class(task)
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    own: type[SawyerXYZEnv] = ALL_V3_ENVIRONMENTS[task]
    return own
