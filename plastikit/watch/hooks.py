"""What is hung on modules: acts there and then, and leaves no trace in a copy or a saved file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any


class Hook:
    """Calls ``function``; a copy of it, or what is loaded after pickling it, does nothing and knows nobody.

    So a model that is copied or saved on a due step carries nothing of the monitor. What stands in for the hook comes
    with Python itself, and a saved model loads where plastikit is not installed.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> None:
        """What torch calls; returns nothing, so no input or output is replaced."""
        self._function(*args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # It takes any arguments and returns None.
        return getattr, (nullcontext(), "__exit__")
