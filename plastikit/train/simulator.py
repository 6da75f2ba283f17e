"""Meta-World's simulators, as plastikit uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plastikit.train.config import REWARD_VERSION

if TYPE_CHECKING:
    from metaworld.sawyer_xyz_env import SawyerXYZEnv


def simulator(task: str) -> SawyerXYZEnv:
    """Make a task's simulator; it has no goal yet.

    Cost: 0.15 to 0.3 s, since MuJoCo compiles the task's model.
    """
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    return ALL_V3_ENVIRONMENTS[task](reward_function_version=REWARD_VERSION)
