"""Warns the user at a line of the user's own."""

from __future__ import annotations

import sys
import warnings
from typing import Final

_INNER: Final = {"plastikit", "torch", "contextlib"}
"""Packages through which the user's line comes to us."""


def warn(message: str) -> None:
    """Warn, as if from the innermost line of the user's own."""
    warnings.warn(message, stacklevel=_outside())


def _outside() -> int:
    """How far up from its caller the first line stands that is neither ours nor torch's."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001  the whole stack would have to be listed otherwise
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INNER:
        frame, level = frame.f_back, level + 1
    return level
