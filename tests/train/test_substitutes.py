"""Faster functions under the names that Meta-World calls."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from plastikit.train.substitutes import ValidRotation, substituted, tolerance

SIGMOIDS = ("gaussian", "hyperbolic", "long_tail", "reciprocal", "cosine", "linear", "quadratic", "tanh_squared")
HAS_UNCHECKED = "assume_valid" in inspect.signature(Rotation.from_matrix).parameters


@pytest.mark.parametrize("sigmoid", SIGMOIDS)
def test_a_tolerance_is_meta_worlds_bit_for_bit(sigmoid: Any) -> None:
    """Inside the bounds, on them and out on both sides, for Python's numbers, NumPy's and arrays."""
    draws = np.random.default_rng(0).uniform(-1.0, 2.0, 40)
    numbers = [0.0, 0.05, -0.0, float("nan"), float("inf"), *draws.tolist(), *draws[:10], 1, draws]
    bounds = [(0, 0.05), (0.0, 0.0), (-0.2, 0.7), (0.0, float("inf"))]
    for number, between, margin in itertools.product(numbers, bounds, [0, 0.0, 0.3, np.float64(0.017), 2]):
        with np.errstate(all="ignore"):
            wanted = reward_utils.tolerance(number, between, margin, sigmoid)
            found = tolerance(number, between, margin, sigmoid)
        assert type(found) is type(wanted)
        assert np.asarray(found).tobytes() == np.asarray(wanted).tobytes()


def test_a_tolerance_refuses_what_meta_worlds_refuses() -> None:
    """Bounds the wrong way round and a negative margin raise its errors."""
    with pytest.raises(ValueError, match="Lower bound"):
        tolerance(0.3, (1.0, 0.0), 0.1)
    with pytest.raises(ValueError, match="non-negative"):
        tolerance(0.3, (0.0, 0.1), -0.1)


@pytest.mark.skipif(not HAS_UNCHECKED, reason="this SciPy checks every matrix")
def test_an_unchecked_rotation_is_the_checked_one() -> None:
    """Of a matrix that MuJoCo makes, also from a quaternion that is a little off, the bits are the same."""
    generator, matrix = np.random.default_rng(0), np.zeros(9)
    for number in range(500):
        quaternion = generator.standard_normal(4) if number % 5 else np.eye(4)[number % 4] + 1e-9 * number
        quaternion *= (1.0 + 1e-9 * (number % 3)) / np.linalg.norm(quaternion)
        mujoco.mju_quat2Mat(matrix, quaternion)
        square = matrix.reshape(3, 3)
        assert ValidRotation.from_matrix(square).as_quat().tobytes() == Rotation.from_matrix(square).as_quat().tobytes()


def test_methods_that_call_a_substitute_are_the_same_code_and_the_others_are_left() -> None:
    """Meta-World's own classes, modules and the methods that call none of the names stay what they are."""
    kind: Any = ALL_V3_ENVIRONMENTS["door-open-v3"]
    found = substituted(kind)
    own = kind.compute_reward.__globals__
    assert {"compute_reward", "_reward_pos", "_gripper_caging_reward"} <= set(found)
    assert not {"step", "reset_model", "evaluate_state"} & set(found)
    assert isinstance(found["_reward_pos"], staticmethod)
    assert found["_reward_pos"].__func__.__globals__["reward_utils"].tolerance is tolerance
    assert found["compute_reward"].__code__ is kind.compute_reward.__code__
    assert own["reward_utils"] is reward_utils
    assert reward_utils.tolerance is not tolerance
    assert ("_get_quat_objects" in found) == HAS_UNCHECKED
