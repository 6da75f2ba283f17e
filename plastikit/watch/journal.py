"""Records in the making: measured network by network, handed over in the order of their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from plastikit.schema import OBSERVED
from plastikit.watch.clock import Clock
from plastikit.watch.probe import Needs, Probe
from plastikit.watch.recorder import Measured, Readings, Recorder, merge, to_host


@dataclass(frozen=True)
class Record:
    """One record, as ``on_record`` hands it on."""

    step: int
    values: Measured
    """Variable -> layer, parameter or network -> array along the variable's further dimensions."""


@dataclass
class _Row:
    """A record in the making: readings of the networks measured so far, and who is still awaited."""

    awaited: set[str] = field(default_factory=set)
    readings: Readings = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)


class Journal:
    """Runs the probes and keeps what they read until the record is whole."""

    def __init__(self, recorder: Recorder, probes: Sequence[Probe], warn: Callable[[str], None]) -> None:
        self.stamps: dict[str, float] = {}
        """Coordinates, such as ``env_step``, of all records from now on."""
        self.callbacks: list[Callable[[Record], None]] = []
        self._recorder = recorder
        self._probes = probes
        self._warn = warn
        self._warned: set[str] = set()
        self._rows: dict[int, _Row] = {}

    def expect(self, clock: Clock) -> None:
        """A record that waits for this network."""
        self._row(clock.due).awaited.add(clock.name)

    def settle(self, clock: Clock) -> None:
        """A record that waits for this network no longer."""
        self._row(clock.due).awaited.discard(clock.name)

    @torch.no_grad()
    def measure(self, clock: Clock, *, of_update: bool) -> None:
        """Run the probes that look at the update, or those that do not."""
        probes = [probe for probe in self._probes if (Needs.UPDATES in probe.needs) is of_update]
        if not probes:
            return
        row = self._row(clock.due)
        row.stamps = row.stamps or dict(self.stamps)
        sight = clock.watch.sight() if any(Needs.FEATURES in probe.needs for probe in probes) else None
        if sight is not None:
            self.tell(sight.problems)
            if clock.gradients and not sight.features and not sight.unreadable:
                self.tell([f"{clock.name} was updated without a forward with gradients; its layers are not measured"])
        capture = clock.capture(sight)
        for probe in probes:
            merge(row.readings, probe(capture))

    def observe(self, step: int, readings: Readings) -> None:
        """Add what was read on a batch of the user's, apart from what training batches gave."""
        row = self._rows.setdefault(step, _Row())
        row.stamps = row.stamps or dict(self.stamps)
        merge(row.readings, {f"{OBSERVED}{variable}": values for variable, values in readings.items()})
        self.emit(before=step + 1)

    def emit(self, *, before: int | None) -> None:
        """Hand over, in the order of steps, the rows that nobody is awaited for; all where ``before`` is None."""
        for step in sorted(self._rows):
            if before is not None and (self._rows[step].awaited or step >= before):
                break
            row = self._rows[step]
            measured = to_host(row.readings)
            if measured:
                self._recorder.write(step, measured, row.stamps)
            # Only now: what an interrupt cuts off is handed over again.
            del self._rows[step]
            for callback in self.callbacks if measured else ():
                callback(Record(step, measured))

    def tell(self, problems: Sequence[str]) -> None:
        """Warn of what could not be measured, once of each."""
        for problem in problems:
            if problem not in self._warned:
                self._warned.add(problem)
                self._warn(problem)

    def _row(self, step: int | None) -> _Row:
        assert step is not None  # noqa: S101  a network is measured for the record that it is due for
        return self._rows.setdefault(step, _Row())
