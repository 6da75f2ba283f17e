"""Records in the making: measured network by network, handed over in the order of their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch

from plastikit.schema import OBSERVED
from plastikit.watch.agenda import Due
from plastikit.watch.capture import OF_LAYERS
from plastikit.watch.clock import Clock
from plastikit.watch.devices import wait_for_training
from plastikit.watch.ledger import PROBE_SECONDS, Ledger, labels_of
from plastikit.watch.packing import Measured, Numbers, Packings, Readings, merge, pack
from plastikit.watch.probe import Probe
from plastikit.watch.recorder import Recorder
from plastikit.watch.together import Alone, Elsewhere


@dataclass(frozen=True)
class Record:
    """One record, as ``on_record`` hands it on."""

    step: int
    values: Measured
    """Variable -> layer, parameter, network or probe -> array along the variable's further dimensions."""


@dataclass
class _Row:
    """A record in the making: readings of the networks measured so far, and who is still awaited."""

    due: Due = field(default_factory=lambda: Due(()))
    awaited: set[str] = field(default_factory=set)
    seconds: Numbers | None = None
    """What each probe took, NaN where it was left out; None until one ran."""
    readings: Readings = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)


class Journal:
    """Runs the probes and keeps what they read until the record is whole."""

    def __init__(
        self,
        recorder: Recorder | Elsewhere,
        probes: Sequence[Probe],
        ledger: Ledger,
        company: Alone,
        warn: Callable[[str], None],
        *,
        is_strict: bool = False,
    ) -> None:
        self.stamps: dict[str, float] = {}
        """Coordinates, such as ``env_step``, of all records from now on."""
        self.callbacks: list[Callable[[Record], None]] = []
        self._recorder = recorder
        self._ledger = ledger
        self._labels = labels_of(probes)
        self._company = company
        self._warn = warn
        self._is_strict = is_strict
        """Whether what a probe or a callback raises ends the training."""
        self._warned: set[str] = set()
        self._rows: dict[int, _Row] = {}
        self._packings: Packings = {}

    def expect(self, clock: Clock, due: Due) -> None:
        """A record that waits for this network, and what it is to hold."""
        row = self._row(clock.due)
        row.due = due
        row.awaited.add(clock.name)

    def settle(self, clock: Clock) -> None:
        """A record that waits for this network no longer."""
        self._row(clock.due).awaited.discard(clock.name)

    def due(self, clock: Clock) -> Due:
        """What is due for the record that this network is on its way to."""
        return self._row(clock.due).due

    @torch.no_grad()
    def measure(self, clock: Clock, *, of_update: bool) -> None:
        """Run the probes that look at the update, or those that do not."""
        start = perf_counter()
        wait_for_training(clock.watch.named.values())
        self._ledger.charge_outside(start)
        row = self._row(clock.due)
        due = row.due.after if of_update else row.due.before
        if not due.probes:
            return
        row.stamps = row.stamps or dict(self.stamps)
        capture, problems = self._company.see(clock, due, of_update=of_update)
        self.tell(problems)
        if capture is None:
            return
        if due.needs & OF_LAYERS and clock.gradients and not (capture.features or capture.unreadable or problems):
            self.tell([f"{clock.name} was updated without a forward with gradients; its layers are not measured"])
        if row.seconds is None:
            row.seconds = np.full(len(self._labels) - 2, np.nan, dtype=np.float32)
        first = start = perf_counter()
        for place, probe in due.probes:
            with self._forgiven(f"probe {probe.name}"):
                merge(row.readings, probe(capture))
            end = perf_counter()
            before = row.seconds[place]
            # Summed over the networks; NaN until the first.
            row.seconds[place] = end - start if before != before else before + end - start  # noqa: PLR0124
            start = end
        self._ledger.charge_probes(start - first)

    def observe(self, step: int, readings: Readings) -> None:
        """Add what was read on a batch of the user's, apart from what training batches gave."""
        row = self._rows.setdefault(step, _Row())
        row.stamps = row.stamps or dict(self.stamps)
        merge(row.readings, {f"{OBSERVED}{variable}": values for variable, values in readings.items()})
        self.emit(before=step + 1)

    def emit(self, *, before: int | None) -> None:
        """Hand over, in the order of steps, the rows that nobody is awaited for; all where ``before`` is None."""
        for step in sorted(self._rows):
            if step not in self._rows:
                # A callback has closed the run, which handed the rest over.
                return
            if before is not None and (self._rows[step].awaited or step >= before):
                break
            record, is_lost = None, True
            with self._forgiven("the storing of a record"):
                record, is_lost = self._hand_over(step, self._rows[step]), False
            if is_lost:
                self._recorder.lose(step, "it could not be stored")
            # Only now: what an interrupt cuts off is handed over again.
            del self._rows[step]
            if record is not None:
                start = perf_counter()
                for callback in self.callbacks:
                    with self._forgiven("a callback of on_record"):
                        callback(record)
                self._ledger.charge_outside(start)

    def _hand_over(self, step: int, row: _Row) -> Record | None:
        """Bring a row to the store; what callbacks are told of it, if there are any."""
        start = perf_counter()
        packed = pack(row.readings, self._packings)
        seconds = None if row.seconds is None else self._ledger.close_record(row.seconds)
        if packed is None:
            return None
        self._recorder.write(step, packed, seconds, row.stamps)
        self._ledger.charge_store(start)
        if not self.callbacks:
            return None
        measured = packed.unpack()
        if seconds is not None:
            measured[PROBE_SECONDS.variable] = dict(zip(self._labels, seconds, strict=True))
        return Record(step, measured)

    def tell(self, problems: Sequence[str]) -> None:
        """Warn of what could not be measured, once of each."""
        for problem in problems:
            if problem not in self._warned:
                self._warned.add(problem)
                self._warn(problem)

    @contextmanager
    def _forgiven(self, what: str) -> Iterator[None]:
        """Tell of what is raised inside, and go on."""
        try:
            yield
        except Exception as error:
            if self._is_strict:
                raise
            self.tell([f"{what} failed, and the training goes on: {type(error).__name__}: {error}"])

    def _row(self, step: int | None) -> _Row:
        assert step is not None  # noqa: S101  a network is measured for the record that it is due for
        return self._rows.setdefault(step, _Row())
