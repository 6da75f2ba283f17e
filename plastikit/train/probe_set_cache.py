"""States of the probe set in the user's cache folder, beside the goals: a small file for each task."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train import goal_cache

FloatArray = NDArray[np.float32]

_DIGEST_BYTES: Final = hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where states are kept; None where they are not."""
    place = goal_cache.folder()
    return None if place is None else place.with_name("probe-set")


def read(key: str, count: int) -> Float[FloatArray, "sample number"] | None:
    """Give what was kept under ``key``; None where nothing was, or where the file is not what was written."""
    place = folder()
    if place is None:
        return None
    try:
        data = (place / _name(key)).read_bytes()
    except OSError:
        return None
    digest, numbers = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if digest != _digest(key, numbers):
        return None
    return np.frombuffer(numbers, dtype="<f4").astype(np.float32).reshape(count, -1)


def write(key: str, states: Float[FloatArray, "sample number"]) -> None:
    """Keep states, in a file that is there whole or not at all."""
    place = folder()
    if place is None:
        return
    numbers = states.astype("<f4").tobytes()
    # A cache that cannot be written costs the next run a second a task, and this one nothing.
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place, suffix=".partial", delete=False) as file:
            try:
                file.write(_digest(key, numbers) + numbers)
                file.close()
                Path(file.name).replace(place / _name(key))
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _name(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.states"


def _digest(key: str, numbers: bytes) -> bytes:
    return hashlib.sha256(key.encode() + numbers).digest()
