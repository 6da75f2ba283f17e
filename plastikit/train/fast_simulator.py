"""Meta-World's simulators with less Python around the same physics: every number is Meta-World's own, bit for bit.

Each method here stands for Meta-World's method of the same name. It does the same arithmetic on the same numbers in the
same order, and leaves out what only finds, wraps or checks them, or what nothing ever reads.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import Any, Final, NamedTuple, SupportsFloat

import mujoco
import numpy as np
from jaxtyping import Float
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from numpy.typing import NDArray

from plastikit.train.substitutes import substituted

FloatArray = NDArray[np.float64]

_HAND_MOVED_TWICE: Final = frozenset({"push-v3", "push-back-v3"})
"""Tasks that put the goal as high as the object has sunk by when the hand was moved, and keep that in the model."""

_DOWN: Final = np.array([1.0, 0.0, 1.0, 0.0])
"""How the hand is turned, as a quaternion."""


class _Indices(NamedTuple):
    """Where MuJoCo keeps what Meta-World looks up by its name at every step."""

    hand: int
    right_claw: int
    left_claw: int
    right_finger: int
    left_finger: int
    right_pad: int
    left_pad: int


class FastSimulator(SawyerXYZEnv):
    """What a task's class inherits from first; no task has a version of its own of any of these but ``_reset_hand``."""

    _moves_hand_once = True
    _leaves_hand = False

    @cached_property
    def _indices(self) -> _Indices:
        bodies = [self.model.body(name).id for name in ("hand", "rightclaw", "leftclaw")]
        sites = [self.model.site(name).id for name in ("rightEndEffector", "leftEndEffector")]
        geoms = [self.model.geom(name).id for name in ("rightpad_geom", "leftpad_geom")]
        return _Indices(*bodies, *sites, *geoms)

    # gymnasium promises NumPy's numbers, and Meta-World gives Python's.
    def step(  # type: ignore[override]
        self, action: Float[NDArray[np.float32], "action"]
    ) -> tuple[Float[FloatArray, "feature"], SupportsFloat, bool, bool, dict[str, Any]]:
        """Take one action.

        Meta-World puts the sites of the goal in their places before ``mj_forward``, which puts all sites in theirs.
        What Meta-World refuses is left to it to refuse.
        """
        is_ready = self._set_task_called and not self._did_see_sim_exception and len(action) == 4
        if not is_ready or self.curr_path_length >= self.max_path_length:
            refused: tuple[FloatArray, SupportsFloat, bool, bool, dict[str, Any]] = super().step(action)
            return refused
        self.set_xyz_action(action[:3])
        self._step_mujoco_simulation((action[-1], -action[-1]), self.frame_skip)  # type: ignore[no-untyped-call]
        self.curr_path_length += 1
        mujoco.mj_forward(self.model, self.data)
        space = self.sawyer_observation_space
        self._last_stable_obs = observation = self._get_obs().clip(space.low, space.high)
        reward, info = self.evaluate_state(observation, action)
        return observation.copy(), reward, False, self.curr_path_length == self.max_path_length, info

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[FloatArray, "feature"], dict[str, Any]]:
        """Begin an episode.

        Meta-World resets a task twice, and MuJoCo forgets its data in between. What stays of the first time, where
        things lie in the model, does in most tasks not depend on the data: the hand need be moved only the second time.
        """
        del seed, options
        self.curr_path_length = 0
        self._leaves_hand = self._moves_hand_once
        try:
            self.reset_model()
        finally:
            self._leaves_hand = False
        observation, info = super(SawyerXYZEnv, self).reset()
        self._prev_obs = observation[:18].copy()
        observation[18:36] = self._prev_obs
        return observation, info

    def _reset_hand(self, steps: int = 50) -> None:
        super()._reset_hand(0 if self._leaves_hand else steps)

    def set_xyz_action(self, action: Float[NDArray[np.float32], "axis"]) -> None:
        """Move what the hand follows, in place; ``np.clip`` comes to the method of the array too."""
        followed = self.data.mocap_pos
        followed += action.clip(-1, 1) * self.action_scale
        followed[0].clip(self.mocap_low, self.mocap_high, out=followed[0])
        self.data.mocap_quat = _DOWN

    def _get_obs(self) -> Float[FloatArray, "feature"]:
        """Join the present state, the one before and the goal; ``np.hstack`` of vectors is ``np.concatenate``."""
        goal = self._get_pos_goal()
        if self._partially_observable:
            goal = np.zeros_like(goal)
        state = self._get_curr_obs_combined_no_goal()
        observation = np.concatenate((state, self._prev_obs, goal))
        self._prev_obs = state
        return observation

    def _get_curr_obs_combined_no_goal(self) -> Float[FloatArray, "feature"]:
        """Write the hand, the gripper and the objects into one array, without splitting and stacking.

        NumPy's norm of a vector is the root of its product with itself.
        """
        indices, positions = self._indices, self.data.xpos
        apart = positions[indices.right_claw] - positions[indices.left_claw]
        state = np.zeros(4 + self._obs_obj_max_len)
        state[:3] = positions[indices.hand]
        state[3] = min(max(math.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        objects, turns = self._get_pos_objects(), self._get_quat_objects()
        for number in range(len(objects) // 3):
            begin = 4 + 7 * number
            state[begin : begin + 3] = objects[3 * number : 3 * number + 3]
            state[begin + 3 : begin + 7] = turns[4 * number : 4 * number + 4]
        return state

    def touching_object(self, object_geom_id: int) -> bool:
        """Whether both pads press on an object; Meta-World makes a Python object of each contact, twice, which is slow.

        The forces are added in the order of the contacts.
        """
        indices, forces, contacts = self._indices, self.data.efc_force, self.data.contact
        right = left = 0.0
        for geoms, address in zip(contacts.geom.tolist(), contacts.efc_address.tolist(), strict=True):
            if object_geom_id in geoms:
                right += forces[address] if indices.right_pad in geoms else 0.0
                left += forces[address] if indices.left_pad in geoms else 0.0
        return bool(left > 0.0 and right > 0.0)

    @property
    def tcp_center(self) -> Float[FloatArray, "axis"]:
        """The middle between the fingers."""
        indices, positions = self._indices, self.data.site_xpos
        middle: FloatArray = (positions[indices.right_finger] + positions[indices.left_finger]) / 2.0
        return middle


@cache
def fast_class(task: str) -> type[SawyerXYZEnv]:
    """Give the class that simulates a task: Meta-World's, with the faster methods before its own."""
    kind: type[SawyerXYZEnv] = ALL_V3_ENVIRONMENTS[task]
    own = {"_moves_hand_once": task not in _HAND_MOVED_TWICE}
    return type(kind.__name__, (FastSimulator, kind), substituted(kind) | own)
