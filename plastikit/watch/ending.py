"""Saves every run that is still open when the interpreter ends."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  its own end is registered on import, and must be registered before ours
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

_waiting: Final[dict[Callable[[], None], int]] = {}
"""What is to be called at the end, and the process that it belongs to."""


def save_at_end(save: Callable[[], None]) -> None:
    """Call ``save`` at the normal end of this process, unless ``forget`` comes first."""
    _waiting[save] = os.getpid()


def forget(save: Callable[[], None]) -> None:
    """``save`` is not needed any more."""
    _waiting.pop(save, None)


def _save_all() -> None:
    """Save all of them, even where one fails; a forked child has none of its own."""
    with ExitStack() as stack:
        for save, process in _waiting.items():
            if process == os.getpid():
                stack.callback(save)


# atexit would be too late: the threads that Zarr writes with are gone by then.
threading._register_atexit(_save_all)  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
