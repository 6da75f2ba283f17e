"""Ends every run that is still open when its process ends: normally, of an error, or of a signal that asks for it."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  its own end is registered on import, and must be registered before ours
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Final

from plastikit.schema import FAILED, FINISHED, INTERRUPTED

End = Callable[[str, str | None], None]
"""Takes the state in which a run ends, and the error that it ends of."""

_ASKING: Final = (signal.SIGTERM, signal.SIGHUP)

_open: Final[dict[End, int]] = {}
"""What is to be called at the end, and the process that it belongs to."""


def end_with_process(end: End) -> None:
    """Call ``end`` when this process ends, unless ``forget`` comes first.

    SIGTERM and SIGHUP are listened to where nobody else does, and end the process as they would have.
    """
    _open[end] = os.getpid()
    if threading.current_thread() is threading.main_thread():
        for number in _ASKING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_of_signal)


def forget(end: End) -> None:
    """``end`` is not needed any more; without any, signals are left alone again."""
    _open.pop(end, None)
    if not _open and threading.current_thread() is threading.main_thread():
        for number in _ASKING:
            if signal.getsignal(number) is _end_of_signal:
                signal.signal(number, signal.SIG_DFL)


def _end_all(state: str, error: str | None) -> None:
    """End all of them, even where one fails; a forked child has none of its own."""
    with ExitStack() as stack:
        for end, process in list(_open.items()):
            if process == os.getpid():
                stack.callback(partial(end, state, error))


def _end_of_signal(number: int, _frame: FrameType | None) -> None:
    try:
        with _undisturbed():
            _end_all(INTERRUPTED, f"the process was ended by {signal.Signals(number).name}")
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second signal must not cut the last commit short: inside, the process ends as it is about to."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (*_ASKING, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_of_script() -> None:
    """A script that closes no run has finished, unless an error was what ended it."""
    with _undisturbed():
        _end_as_it_went()


def _end_as_it_went() -> None:
    # In a session at a prompt it is that of any line before.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    if error is None:
        _end_all(FINISHED, None)
    elif isinstance(error, KeyboardInterrupt):
        _end_all(INTERRUPTED, "interrupted")
    else:
        _end_all(FAILED, f"{type(error).__name__}: {error}")


# atexit would be too late: threads that a store may write with are gone by then.
threading._register_atexit(_end_of_script)  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
