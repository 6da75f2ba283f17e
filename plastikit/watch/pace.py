"""Hears the optimizers step: which update it is, and which network's record begins and ends with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from plastikit.watch.agenda import Agenda, Due
from plastikit.watch.clock import Clock, Losses
from plastikit.watch.devices import wait_for_training
from plastikit.watch.journal import Journal
from plastikit.watch.ledger import Ledger
from plastikit.watch.probe import Needs


class Pace:
    """Counts updates, and takes each network through its records.

    With several optimizers one update of the count is a round in which each steps at most once. Without any,
    ``end_step`` ends an update.
    """

    def __init__(
        self,
        clocks: Sequence[Clock],
        optimizers: Sequence[Optimizer],
        *,
        agenda: Agenda,
        journal: Journal,
        ledger: Ledger,
        start: int = 0,
        first: Due | None,
    ) -> None:
        """``start`` is the number of updates done, and ``first`` is due at the next."""
        self._round = start
        self._clocks = clocks
        self._optimizers = optimizers
        self._agenda = agenda
        self._journal = journal
        self._ledger = ledger
        self._everyone = frozenset(map(id, optimizers))
        self._strangers: set[int] = set()
        """Optimizers that were not attached, and were looked at."""
        self._stepped: set[int] = set()
        self._inside: set[int] = set()
        self.is_idle = False
        """Whether no record is on its way."""
        self._quiet_until = 0
        """The step before which nothing can be due: until then an update costs a few entries in sets, and no call."""
        self._asked = (start, first)
        self._heard_until = start
        """The step up to which the time of steps that nothing was due at is counted."""
        self._handles: list[RemovableHandle] = [
            optimizer.register_step_pre_hook(self._before_step) for optimizer in optimizers
        ]
        if optimizers:
            # One for all: an optimizer that was not attached may update what is watched.
            self._handles.append(register_optimizer_step_post_hook(self._after_step))
        if first is not None:
            self._open(start, clocks)
        self._rest()

    @property
    def steps(self) -> int:
        """Updates so far, the round in progress included."""
        return self._round + bool(self._stepped)

    def end_step(self) -> None:
        """End an update where there is no optimizer to listen to; else nothing."""
        if self._optimizers:
            return
        start, apart = perf_counter(), self._ledger.apart
        for clock in self._clocks:
            if clock.due is not None:
                self._journal.tell(clock.reread(self._optimizers))
                clock.take_all()
                self._look(clock)
                self._finish(clock)
        self._advance()
        self._ledger.charge_capture(start, apart)

    def hear_losses(
        self, losses: Losses, groups: Sequence[int] | Tensor | None, shared: Sequence[str] | None, network: str | None
    ) -> None:
        """Take the gradients of pieces of the batch, for each network whose record is on its way and asks for them."""
        for clock in self._clocks:
            is_waiting = clock.due is not None and not clock.left and Needs.LOSSES in clock.watch.needs
            if is_waiting and network in {None, clock.name} and not self._is_of_next_round(clock):
                wait_for_training(clock.watch.named.values())
                start, apart = perf_counter(), self._ledger.apart
                clock.take_losses(losses, groups, shared)
                self._ledger.charge_capture(start, apart)

    def close(self) -> None:
        """Take every hook off; a record that is half measured keeps its half."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        try:
            for clock in self._clocks:
                if clock.left:
                    self._give_up(clock)
                self._journal.tell(clock.reread(self._optimizers))
        finally:
            for clock in self._clocks:
                clock.stop()

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        key = id(optimizer)
        if key not in self._stepped and self.is_idle:
            self._inside.add(key)
            return
        start, apart = perf_counter(), self._ledger.apart
        if key in self._stepped:
            self._advance()
        self._inside.add(key)
        for clock in self._clocks:
            if clock.due is None or clock.due > self._round:
                continue
            if not clock.left:
                # A layer may have been replaced since, and an optimizer may have taken up parameters.
                self._journal.tell(clock.reread(self._optimizers))
            if key in clock.owned:
                has_closure = _has_closure(args, kwargs)
                if not clock.left:
                    clock.start(copied=self._journal.due(clock).has_updates or has_closure or clock.is_shared)
                if key in clock.left and not has_closure:
                    self._hear(clock, optimizer)
        self._ledger.charge_capture(start, apart)

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        key = id(optimizer)
        if key not in self._inside:
            # A step that calls the step of its parent class is heard twice.
            if key not in self._everyone and key not in self._strangers:
                self._meet(optimizer)
            return
        self._inside.discard(key)
        if self.is_idle:
            self._stepped.add(key)
            step = self._round + 1
            if self._stepped >= self._everyone:
                self._round = step
                self._stepped.clear()
            if step >= self._quiet_until:
                self._ask(step)
        else:
            self._hear_end(key, optimizer, has_closure=_has_closure(args, kwargs))

    def _hear_end(self, key: int, optimizer: Optimizer, *, has_closure: bool) -> None:
        """An optimizer has stepped while a record is on its way."""
        start, apart = perf_counter(), self._ledger.apart
        self._stepped.add(key)
        for clock in self._clocks:
            if key in clock.left:
                if has_closure:
                    self._hear(clock, optimizer)
                clock.take_update(optimizer)
                if not clock.left:
                    self._finish(clock)
            elif key in clock.owned and clock.due is not None and clock.due > self._round:
                clock.watch.forget()
        if self._stepped >= self._everyone:
            self._advance()
        elif self._is_due(self._round + 1):
            # A forward of the next round may come before this round is known to be over.
            self._open(self._round + 1, [clock for clock in self._clocks if clock.due is None])
        self._rest()
        self._ledger.charge_capture(start, apart)

    def _ask(self, step: int) -> None:
        """See whether a record begins at ``step``, where none is on its way; else, until when to ask nobody."""
        start = perf_counter()
        if self._is_due(step):
            self._open(step, self._clocks)
        else:
            self._quiet_until = self._agenda.quiet_until(step + 1)
        # A step at which nobody was asked takes about as long, most of it to fetch the code for it.
        self._ledger.charge_idle(start, steps=max(1, step - self._heard_until))
        self._heard_until = step

    def _meet(self, optimizer: Optimizer) -> None:
        """Say if an optimizer that was not attached updates what is watched, as one does that was built anew."""
        self._strangers.add(id(optimizer))
        parameters = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for clock in self._clocks:
            if any(id(parameter) in parameters for parameter in clock.watch.named.values()):
                problem = f"{clock.name} is updated by an optimizer that was not attached, whose steps are not heard"
                self._journal.tell([f"{problem}; attach again, with that one and to a new store"])

    def _advance(self) -> None:
        """End the round: what is due in the next one gets its hooks."""
        for clock in self._clocks:
            if self._optimizers and not clock.owned and clock.due is not None:
                self._journal.tell(clock.reread(self._optimizers))
                clock.start(copied=False)
                self._look(clock)
                self._finish(clock)
        self._round += 1
        self._stepped.clear()
        if self._is_due(self._round):
            self._open(self._round, self._clocks)
        self._journal.emit(before=self._round)
        self._rest()

    def _rest(self) -> None:
        """Take the hooks off networks that no record waits for, before the training goes on."""
        self.is_idle = True
        self._quiet_until = 0
        for clock in self._clocks:
            if clock.due is not None:
                self.is_idle = False
            elif clock.watch.is_armed:
                clock.stop()

    def _is_due(self, step: int) -> bool:
        """The agenda's answer, asked once for each step."""
        if self._asked[0] != step:
            self._asked = step, self._agenda(step)
        return self._asked[1] is not None

    def _is_of_next_round(self, clock: Clock) -> bool:
        """Whether the record waits for an update that comes after one which the network has yet to make."""
        return clock.due is not None and clock.due > self._round and self._stepped.isdisjoint(clock.owned)

    def _open(self, step: int, clocks: Iterable[Clock]) -> None:
        self.is_idle = False
        self._heard_until = step
        for clock in clocks:
            if clock.due is not None and clock.due >= step:
                continue
            if clock.left:
                self._give_up(clock)
            elif clock.due is not None:
                self._journal.settle(clock)
            due = self._asked[1] or self._agenda.everything
            if clock.due is None and clock.watch.is_armed and clock.watch.needs != due.needs:
                clock.stop()
            clock.open(step, due.needs)
            self._journal.expect(clock, due)
            if not self._optimizers:
                self._journal.tell(clock.reread(self._optimizers))
                clock.start(copied=True)

    def _hear(self, clock: Clock, optimizer: Optimizer) -> None:
        clock.take_gradients(optimizer)
        if clock.left == {id(optimizer)}:
            self._look(clock)

    def _look(self, clock: Clock) -> None:
        """Measure what precedes the update."""
        self._journal.measure(clock, of_update=False)
        clock.is_measured = True

    def _finish(self, clock: Clock) -> None:
        """Measure the update itself, which ends the record."""
        self._journal.measure(clock, of_update=True)
        self._journal.settle(clock)
        # Where the next step is due too, the hooks stay.
        clock.release()
        clock.watch.forget()

    def _give_up(self, clock: Clock) -> None:
        """End a record for which a step never ended, or one of the optimizers never stepped."""
        if not clock.is_measured:
            if clock.is_shared and not clock.watch.has_kept:
                # What was seen since belongs to later updates.
                clock.watch.keep(nothing=True)
            self._look(clock)
        self._journal.measure(clock, of_update=True)
        self._journal.settle(clock)
        clock.release()


def _has_closure(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the step computes its gradients itself; ``args`` begins with the optimizer."""
    return kwargs.get("closure", args[1] if len(args) > 1 else None) is not None
