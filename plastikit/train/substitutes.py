"""Faster functions under the names by which the methods of Meta-World's tasks call slower ones, with the same bits."""

from __future__ import annotations

import inspect
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float
from metaworld.utils import reward_utils
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from metaworld.sawyer_xyz_env import SawyerXYZEnv
    from metaworld.utils.reward_utils import SIGMOID_TYPE

FloatArray = NDArray[np.float64]
X = TypeVar("X", float, FloatArray)


def tolerance(
    x: X,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: float = 0.0,
    sigmoid: SIGMOID_TYPE = "gaussian",
    value_at_margin: float = 0.1,
) -> X | float:
    """Give what Meta-World's ``tolerance`` gives, with comparisons in place of ``np.where`` where ``x`` is one number.

    Outside the bounds Meta-World's own sigmoid is asked, about the same ``np.float64``.

    >>> tolerance(0.3, bounds=(0.0, 0.4)), tolerance(0.5, bounds=(0.0, 0.4))
    (1.0, 0.0)
    """
    lower, upper = bounds
    if not (isinstance(x, float) and isinstance(margin, float) and lower <= upper and margin > 0.0):
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    if lower <= x <= upper:
        return 1.0
    distance = np.float64(lower - x if x < lower else x - upper) / margin
    return float(reward_utils._sigmoids(distance, value_at_margin, sigmoid))  # noqa: SLF001  it is not to be copied


class ValidRotation:
    """SciPy's rotation from a matrix that is known to be one.

    MuJoCo makes its matrices from quaternions, so that they are orthogonal to the last digits; SciPy leaves such a
    matrix as it is when it has checked it.
    """

    @staticmethod
    def from_matrix(matrix: Float[FloatArray, "row column"]) -> Rotation:
        """Give the rotation, unchecked."""
        return Rotation.from_matrix(matrix, assume_valid=True)


@cache
def _substitutes() -> dict[str, tuple[Any, Any]]:
    """What Meta-World means by a name, and what stands for it."""
    known = {
        "tolerance": (reward_utils.tolerance, tolerance),
        "reward_utils": (reward_utils, SimpleNamespace(**vars(reward_utils) | {"tolerance": tolerance})),
    }
    if "assume_valid" in inspect.signature(Rotation.from_matrix).parameters:
        # Older versions of SciPy always check.
        known["Rotation"] = (Rotation, ValidRotation)
    return known


def substituted(kind: type[SawyerXYZEnv]) -> dict[str, Any]:
    """Give those methods of a task's class that call what has a substitute: the same code, which finds that instead."""
    methods = {}
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        function = found.__func__ if isinstance(found, staticmethod) else found
        if not isinstance(function, FunctionType):
            continue
        names = function.__globals__
        others = {
            called: other
            for called, (meant, other) in _substitutes().items()
            if called in function.__code__.co_names and names.get(called) is meant
        }
        if others:
            same = FunctionType(function.__code__, names | others, name, function.__defaults__, function.__closure__)
            same.__kwdefaults__ = function.__kwdefaults__
            methods[name] = staticmethod(same) if isinstance(found, staticmethod) else same
    return methods
