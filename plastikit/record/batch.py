"""Many requests at once, waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

_AT_ONCE: Final = 32

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(items: Iterable[_Item], one: Callable[[_Item], _Result]) -> list[_Result]:
    """The results of ``one``, in the order of ``items``; it ends when no request is under way any more.

    After a failure nothing new is begun. What is under way is waited for: a request that arrives later than its
    repetition would bring old bytes back.
    """
    tasks = list(items)
    waiting = iter(range(len(tasks)))
    taking = threading.Lock()
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            with taking:
                position = next(waiting, None)
            if position is None:
                return
            try:
                results[position] = one(tasks[position])
            except BaseException as error:  # noqa: BLE001  raised below, from the thread that asked
                errors.append(error)

    helpers: list[threading.Thread] = []
    # When the process ends no thread can be begun any more: the rest is done here, one by one.
    with suppress(RuntimeError):
        for _ in range(min(_AT_ONCE, len(tasks)) - 1):
            helper = threading.Thread(target=work, name="plastikit-request", daemon=True)
            helper.start()
            helpers.append(helper)
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return [results[position] for position in range(len(tasks))]
