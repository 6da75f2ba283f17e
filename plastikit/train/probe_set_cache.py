"""States of the probe set in the user's cache folder, beside the goals: a small file for each task."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train import cache

FloatArray = NDArray[np.float32]


def folder() -> Path | None:
    """Where states are kept; None where they are not."""
    return cache.folder("probe-set")


def read(key: str, count: int) -> Float[FloatArray, "sample number"] | None:
    """Give what was kept under ``key``; None where nothing was, or where the file is not what was written."""
    numbers = cache.read(_place(key), key)
    return None if numbers is None else np.frombuffer(numbers, dtype="<f4").astype(np.float32).reshape(count, -1)


def write(key: str, states: Float[FloatArray, "sample number"]) -> None:
    """Keep states."""
    cache.write(_place(key), key, states.astype("<f4").tobytes())


def _place(key: str) -> Path | None:
    place = folder()
    return None if place is None else place / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.states"
