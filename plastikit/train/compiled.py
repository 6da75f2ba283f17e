"""Compiles the losses of an update, and on a GPU captures them, with their gradients, in CUDA graphs.

Optimizers and clipping stay outside: whoever watches hears an optimizer's step, and finds its gradients where they
always are. On a GPU none of this has been measured: none was at hand when it was written. On the one
CPU that they were measured on, compiled updates took longer than plain ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType, MethodType
from typing import Any, Final, ParamSpec, TypeVar, cast

import torch

from plastikit.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")

OPTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "cpu": {"backend": "inductor"},
    "cuda": {"backend": "inductor", "mode": "reduce-overhead"},
}
"""How functions are compiled for each kind of device; ``reduce-overhead`` is what captures CUDA graphs."""


def compiled(method: Callable[P, T], device: torch.device) -> Callable[P, T]:
    """Compile ``method``, for the shapes that it is called with first, when it is called first.

    On a GPU its results lie where those of the next call will: what outlives an update has to be copied.

    Raises:
        ConfigurationError: nothing can be compiled here.
    """
    require_compiler(device)
    own = _with_own_code(cast("MethodType", method))
    run: Callable[P, T] = torch.compile(own, fullgraph=True, dynamic=False, **OPTIONS[device.type])
    return run


def _with_own_code(method: MethodType) -> MethodType:
    """Give a method whose code is its own: torch compiles the code that objects share eight times, then refuses."""
    shared = method.__func__
    own = FunctionType(
        shared.__code__.replace(), shared.__globals__, shared.__name__, shared.__defaults__, shared.__closure__
    )
    own.__kwdefaults__ = shared.__kwdefaults__
    return MethodType(own, method.__self__)


@cache
def require_compiler(device: torch.device) -> None:
    """Compile something small, so that what is missing is told before a run begins and not after its warm-up.

    Cost: 2 to 20 s the first time, most of which the first update would take otherwise.

    Raises:
        ConfigurationError: it cannot be compiled.
    """
    try:
        torch.compile(torch.neg, backend="inductor")(torch.zeros(1, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        cause = getattr(error, "inner_exception", error)
        reason = f"{type(cause).__name__}: {cause}".partition("\n")[0]
        raise ConfigurationError(
            f"is_compiled is True, and torch can compile nothing for {device} here ({reason}). Install the C and C++ "
            "compilers that it looks for, as gcc and g++, and for a GPU Triton; or leave is_compiled, --compile, out."
        ) from error
