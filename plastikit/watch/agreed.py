"""One decision for all processes on what is due, where time decides and each would decide otherwise."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

from plastikit.watch.agenda import Due
from plastikit.watch.budget import Governor


class Agreed:
    """Has the writer decide, and tells the others only at the steps for which that was agreed before.

    At each such step the writer says what is due and at which step it will decide again: the one that it expects to
    reach when the next record can be afforded. In between nobody communicates. It looks ahead to at most twice the
    steps so far, so that an early estimate which was wrong is soon made good.
    """

    def __init__(self, governor: Governor, tell: Callable[[Tensor], Tensor], *, is_writer: bool) -> None:
        self.everything = governor.everything
        self._governor = governor
        self._tell = tell
        self._is_writer = is_writer
        self._next = 1
        self._since = 0, perf_counter()

    def __call__(self, step: int) -> Due | None:
        """What the writer finds affordable; None between the steps at which it decides."""
        if step < self._next:
            return None
        decision = torch.zeros(2 + len(self.everything.probes), dtype=torch.int64)
        if self._is_writer:
            due = self._governor(step)
            decision[0] = self._ahead(step)
            decision[1] = due is not None
            for place, _ in due.probes if due is not None else ():
                decision[2 + place] = 1
        following, is_due, *chosen = self._tell(decision).tolist()
        self._next = following
        if not is_due:
            return None
        return Due(tuple(entry for entry, is_chosen in zip(self.everything.probes, chosen, strict=True) if is_chosen))

    def quiet_until(self, step: int) -> int:
        """The step for which the next decision was agreed."""
        return max(step, self._next)

    def _ahead(self, step: int) -> int:
        """The step at which the next record can be afforded, if steps take as long as of late."""
        now = perf_counter()
        last, then = self._since
        self._since = step, now
        seconds = max((now - then) / max(1, step - last), 1e-9)
        return step + int(min(max(1, self._governor.wait / seconds), step + 10))
