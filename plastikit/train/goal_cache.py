"""Goals in the user's cache folder: a small file for each Meta-World version, task and seed.

``PLASTIKIT_CACHE`` names another folder; ``PLASTIKIT_CACHE=off`` keeps and reads nothing.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from plastikit.train.config import GOALS_PER_TASK

FloatArray = NDArray[np.float64]
Key = tuple[str, str, int]
"""Meta-World's version, the task, the seed."""

_WAY_OF_DRAWING: Final = 1
"""Goes up with each change to how goals are drawn, so that older files are made anew."""

_DIGEST_BYTES: Final = hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where goals are kept; None where they are not."""
    chosen = os.environ.get("PLASTIKIT_CACHE", "")
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen) / "goals"
    # The XDG rules call a relative path invalid, to be passed over.
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():
        try:
            home = Path.home() / ".cache"
        except RuntimeError:  # a user without a home folder
            return None
    return home / "plastikit" / "goals"


def read(key: Key) -> Float[FloatArray, "goal number"] | None:
    """Give the goals that were kept; None where there are none, or where the file is not what was written."""
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
    return np.frombuffer(numbers, dtype="<f8").astype(np.float64).reshape(GOALS_PER_TASK, -1)


def write(key: Key, vectors: Float[FloatArray, "goal number"]) -> None:
    """Keep goals, in a file that is there whole or not at all."""
    place = folder()
    if place is None:
        return
    numbers = vectors.astype("<f8").tobytes()
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


def _name(key: Key) -> str:
    version, task, seed = key
    return f"metaworld-{version}_{task}_{seed}.goals"


def _digest(key: Key, numbers: bytes) -> bytes:
    return hashlib.sha256(repr((_WAY_OF_DRAWING, GOALS_PER_TASK, *key)).encode() + numbers).digest()
