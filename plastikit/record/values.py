"""Settings as a run's attributes can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plastikit.errors import ConfigurationError


def printable(text: object) -> str:
    """``text`` as it can be encoded: what no encoding has, as in the names of some files, becomes an escape."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: Any, name: str) -> Any:
    """``value`` in JSON's own types; NumPy's numbers and paths are turned into them.

    Raises:
        ConfigurationError: it holds something else; ``name`` says where.
    """
    # JSON has no NaN and no infinity.
    if isinstance(value, str | Path) or (isinstance(value, float) and not math.isfinite(value)):
        return printable(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return plain(value.item(), name)
    if isinstance(value, Mapping):
        return {printable(key): plain(entry, f"{name}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(entry, f"{name}[{position}]") for position, entry in enumerate(value)]
    raise ConfigurationError(
        f"{name} is a {type(value).__name__}, which a store cannot hold; "
        "give numbers, texts, and lists or mappings of them"
    )
