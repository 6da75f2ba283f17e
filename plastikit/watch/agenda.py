"""What is due at a step: all probes where the schedule says so, or what a budget allows."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from plastikit.watch.probe import Needs, Probe, Tier
from plastikit.watch.schedule import Every


@dataclass(frozen=True, eq=False)
class Due:
    """The probes of one record, each with its place among all probes of the monitor."""

    probes: tuple[tuple[int, Probe], ...]

    @cached_property
    def needs(self) -> Needs:
        """All that its probes look at; nothing else has to be captured."""
        return functools.reduce(operator.or_, (probe.needs for _, probe in self.probes), Needs(0))

    @cached_property
    def has_updates(self) -> bool:
        """Whether one of them compares the parameters before and after the update."""
        return Needs.UPDATES in self.needs

    @cached_property
    def before(self) -> Due:
        """Those that look at what precedes the update."""
        return Due(tuple(entry for entry in self.probes if Needs.UPDATES not in entry[1].needs))

    @cached_property
    def after(self) -> Due:
        """Those that look at the update itself."""
        return Due(tuple(entry for entry in self.probes if Needs.UPDATES in entry[1].needs))


class Agenda(Protocol):
    """Decides, once for each step and in order, what is due; of the first it is not asked."""

    @property
    def everything(self) -> Due:
        """All probes of the monitor."""
        ...

    def __call__(self, step: int) -> Due | None:
        """What is due at ``step``; None where nothing is."""
        ...

    def quiet_until(self, step: int) -> int:
        """The first step from ``step`` on at which something may be due; it need not be asked before."""
        ...


class Scheduled:
    """Every probe, whenever a function of the step says so; costly ones more seldom, where it says that too."""

    def __init__(self, schedule: Callable[[int], bool], probes: Sequence[Probe]) -> None:
        self.everything = Due(tuple(enumerate(probes)))
        self._cheap = Due(tuple((place, probe) for place, probe in enumerate(probes) if probe.tier is Tier.STEP))
        self._schedule = schedule

    def __call__(self, step: int) -> Due | None:
        """All of them, those that are cheap, or None."""
        if not self._schedule(step):
            return None
        is_whole = not isinstance(self._schedule, Every) or self._schedule.is_whole(step)
        return self.everything if is_whole else self._cheap if self._cheap.probes else None

    def quiet_until(self, step: int) -> int:
        """Known for every so many steps; any other function is asked at each."""
        return self._schedule.following(step) if isinstance(self._schedule, Every) else step
