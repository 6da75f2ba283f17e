"""Keeps the cost of watching under a share of the training time: spaces the records, and costly probes further."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from plastikit.watch.agenda import Due
from plastikit.watch.ledger import Ledger
from plastikit.watch.probe import Probe

_FAR: Final = 32
"""Steps for which nobody asks, at most: steps may become slower."""


class Governor:
    """Measures when it can afford to.

    A record with its cheap probes comes whenever half of the budget has earned it; the other half is shared alike by
    the costly probes, each of which joins the first record at which its own part has earned it. A probe is costly
    where it costs more than the record and all cheaper probes together. Intervals follow from the medians of late
    records, so that one slow record does not thin out all that follow; but nothing at all is due while more was spent
    than the budget allows for the time since the start. Where updates are so short that even finding nothing due takes
    most of it, records keep half.
    """

    def __init__(self, fraction: float, probes: Sequence[Probe], ledger: Ledger) -> None:
        self.everything = Due(tuple(enumerate(probes)))
        self._fraction = fraction
        self._ledger = ledger
        self._start = self._next = perf_counter()
        self._last = [self._start] * len(probes)
        self._known: dict[tuple[int, ...], Due] = {}
        self._asked = 0, self._start
        """When it was asked last how long nothing can be due: the step and the time."""

    @property
    def wait(self) -> float:
        """Seconds until a record may be affordable; 0 where it may be now."""
        return max(0.0, self._next - perf_counter())

    def __call__(self, step: int) -> Due | None:  # noqa: ARG002  time decides, and what was spent
        """The probes that are affordable now; None where not even a record with the cheap ones is."""
        now = perf_counter()
        if now < self._next or not self._ledger.records:
            return None
        base, seconds = self._ledger.record_seconds, self._ledger.probe_seconds
        chosen, costly = split_by_cost(base, seconds)
        cost = base + sum(seconds[place] for place in chosen)
        earned = self._fraction * (now - self._start)
        # What finding that nothing is due takes is paid first, but where updates are short it leaves half to records.
        left = max(earned - self._ledger.spent, earned / 2 - self._ledger.spent_on_records)
        # The first record is cold, and costs several times what those after it do: it is no measure for them.
        left -= cost if self._ledger.records > 1 else 0.0
        if left < 0:
            self._next = now - left / self._fraction
            return None
        share = self._fraction / 2 if costly else self._fraction
        self._next = now + cost / share
        waited = {place: (now - self._last[place]) * share / len(costly) / seconds[place] for place in costly}
        for place in sorted(costly, key=lambda place: -waited[place]):
            if waited[place] >= 1 and seconds[place] <= left:
                left -= seconds[place]
                self._last[place] = now
                chosen.append(place)
        return self._due(tuple(sorted(chosen)))

    def quiet_until(self, step: int) -> int:
        """Half of the way to when a record may be affordable, if steps take as long as of late, and never far."""
        now = perf_counter()
        last, then = self._asked
        self._asked = step, now
        seconds = max(now - then, 1e-9) / max(1, step - last)
        return step + int(min(self.wait / seconds / 2, _FAR))

    def _due(self, chosen: tuple[int, ...]) -> Due:
        if chosen not in self._known:
            self._known[chosen] = Due(tuple(self.everything.probes[place] for place in chosen))
        return self._known[chosen]


def split_by_cost(base: float, seconds: Sequence[float]) -> tuple[list[int], list[int]]:
    """Places of the cheap probes and of the costly ones: those that cost more than ``base`` and all cheaper together.

    >>> split_by_cost(1.0, [0.5, 6.0, 0.2, 9.0])
    ([2, 0], [1, 3])
    """
    cheap: list[int] = []
    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    for count, place in enumerate(order):
        if seconds[place] > base:
            return cheap, order[count:]
        base += seconds[place]
        cheap.append(place)
    return cheap, []
