"""What is hung on modules: acts there and then, and leaves no trace in a copy or a saved file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter
from typing import Any, Final

from torch.compiler import is_compiling

_seconds: Final = [0.0]


class Hook:
    """Calls ``function``; a copy of it, or what is loaded after pickling it, does nothing and knows nobody.

    So a model that is copied or saved on a due step carries nothing of the monitor. What stands in for the hook comes
    with Python itself, and a saved model loads where plastikit is not installed.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        """What torch calls; returns nothing, so no input or output is replaced. A compiler finds nothing in it."""
        if is_compiling():
            return
        start = perf_counter()
        self._function(*args)
        _seconds[0] += perf_counter() - start

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # It takes any arguments and returns None.
        return getattr, (nullcontext(), "__exit__")


def charge(seconds: float) -> None:
    """Count seconds that were spent on looking at a forward outside of a hook."""
    _seconds[0] += seconds


def seconds_in_hooks() -> float:
    """Seconds that the hooks of this process have taken so far, of all monitors together."""
    return _seconds[0]
