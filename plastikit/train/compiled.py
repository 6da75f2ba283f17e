"""Compiles the losses of an update, and on a GPU captures them, with their gradients, in CUDA graphs.

Optimizers and clipping stay outside: whoever watches hears an optimizer's step, and finds its gradients where they
always are. On a GPU none of this has been measured: none was at hand when it was written. On the one
CPU that they were measured on, compiled updates took longer than plain ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "cpu": {"backend": "inductor"},
    "cuda": {"backend": "inductor", "mode": "reduce-overhead"},
}
"""How functions are compiled for each kind of device; ``reduce-overhead`` is what captures CUDA graphs."""


def compiled(function: Callable[P, T], device: torch.device) -> Callable[P, T]:
    """Compile ``function``, for the shapes that it is called with first, when it is called first.

    On a GPU its results lie where those of the next call will: what outlives an update has to be copied.
    """
    run: Callable[P, T] = torch.compile(function, fullgraph=True, dynamic=False, **OPTIONS[device.type])
    return run
