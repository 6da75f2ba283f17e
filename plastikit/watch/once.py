"""One open monitor for each model: a notebook cell that is run again takes the place of its first run."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Final

from torch import nn

_WATCHED: Final[weakref.WeakKeyDictionary[nn.Module, weakref.ref[Any]]] = weakref.WeakKeyDictionary()


def take_over(models: Iterable[nn.Module], monitor: Any) -> None:
    """Let ``monitor`` watch ``models`` from now on; the monitors that watched one of them are closed."""
    for model in models:
        known = _WATCHED.get(model)
        earlier = None if known is None else known()
        if earlier is not None and earlier is not monitor and earlier.is_open:
            earlier.event("closed", "the model was attached again, to another run")
            earlier.close()
        _WATCHED[model] = weakref.ref(monitor)
