"""Memory that an update frees, kept for the next one."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Their names in malloc.h."""
_LARGEST = 32 << 20
_KEPT = 512 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep up to 512 MiB that are freed, so that each update writes where the last one did.

    An update's activations, some megabytes each, are else given back to the system again and again and taken anew,
    page by page. Holds for the whole process, and for blocks of at most 32 MiB. False where nothing was changed: not
    every C library has the switch.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
