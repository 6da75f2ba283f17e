"""Which call of a module is at work: an interrupt ends one without a word, and no hook hears of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType
from typing import Final

from torch import Tensor, nn

from plastikit.watch.sight import Held

_CALL: Final = nn.Module._call_impl.__code__  # noqa: SLF001  what every call of a module runs


@dataclass(slots=True)
class Frame:
    """A module at work."""

    path: str
    module: nn.Module
    is_plain: bool
    """Whether it has neither parts nor matrices: an activation, if it calls one."""
    call: FrameType | None = None
    """The call, by which a module at work is told from one that was interrupted."""
    given: Held | None = None
    """What it was called with, where it may be an activation and somebody needs that."""
    function: str | None = None
    """The activation function that it called last."""
    output: Tensor | None = None
    """What that function put out."""


def running_call() -> FrameType | None:
    """The call of the module whose hook is running; None where there is none."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  the whole stack would have to be listed otherwise
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back
    return frame


def is_within(call: FrameType | None, outer: FrameType | None) -> bool:
    """Whether ``call`` was made by ``outer``, however indirectly."""
    while call is not None and call is not outer:
        call = call.f_back
    return call is outer


def has_failed(call: FrameType | None) -> bool:
    """Whether the hook that is running was called because ``call`` ended in an error."""
    error = sys.exc_info()[1]
    return error is not None and error.__traceback__ is not None and error.__traceback__.tb_frame is call
