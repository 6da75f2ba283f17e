"""What is computed in float32 also where autocast computes in bfloat16, which cannot hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def in_float32(function: Callable[..., T], *operands: Tensor) -> T:
    """Give what ``function`` makes of ``operands``, in float32 inside autocast; outside it, it is merely called.

    Values of several hundred lie 2 to 4 apart in bfloat16: what a network puts out must not be rounded to it.
    """
    kind = operands[0].device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return function(*operands)
    with torch.autocast(kind, enabled=False):
        return function(*(operand.float() for operand in operands))
