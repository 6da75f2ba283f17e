"""Goals in the user's cache folder: a small file for each Meta-World version, task and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train import cache
from plastikit.train.config import GOALS_PER_TASK

FloatArray = NDArray[np.float64]
Key = tuple[str, str, int]
"""Meta-World's version, the task, the seed."""

_WAY_OF_DRAWING: Final = 1
"""Goes up with each change to how goals are drawn, so that older files are made anew."""


def folder() -> Path | None:
    """Where goals are kept; None where they are not."""
    return cache.folder("goals")


def read(key: Key) -> Float[FloatArray, "goal number"] | None:
    """Give the goals that were kept; None where there are none, or where the file is not what was written."""
    numbers = cache.read(_place(key), _meaning(key))
    return None if numbers is None else np.frombuffer(numbers, dtype="<f8").astype(float).reshape(GOALS_PER_TASK, -1)


def write(key: Key, vectors: Float[FloatArray, "goal number"]) -> None:
    """Keep goals."""
    cache.write(_place(key), _meaning(key), vectors.astype("<f8").tobytes())


def _place(key: Key) -> Path | None:
    place, (version, task, seed) = folder(), key
    return None if place is None else place / f"metaworld-{version}_{task}_{seed}.goals"


def _meaning(key: Key) -> str:
    return repr((_WAY_OF_DRAWING, GOALS_PER_TASK, *key))
