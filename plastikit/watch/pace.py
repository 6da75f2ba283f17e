"""Hears the optimizers step: which update it is, and which network's record begins and ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from plastikit.watch.clock import Clock
from plastikit.watch.journal import Journal


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
        schedule: Callable[[int], bool],
        is_copied: bool,
        journal: Journal,
    ) -> None:
        self._round = 0
        self._clocks = clocks
        self._optimizers = optimizers
        self._schedule = schedule
        self._is_copied = is_copied
        self._journal = journal
        self._everyone = frozenset(map(id, optimizers))
        self._stepped: set[int] = set()
        self._inside: set[int] = set()
        self._asked = (0, True)
        self._handles: list[RemovableHandle] = [
            handle
            for optimizer in optimizers
            for handle in (
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            )
        ]
        self._open(0, clocks)

    @property
    def steps(self) -> int:
        """Updates so far, the round in progress included."""
        return self._round + bool(self._stepped)

    def end_step(self) -> None:
        """End an update where there is no optimizer to listen to; else nothing."""
        if self._optimizers:
            return
        for clock in self._clocks:
            if clock.due is not None:
                self._journal.tell(clock.reread(self._optimizers))
                clock.take_all()
                self._look(clock)
                self._finish(clock)
        self._advance()

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
                    clock.start(copied=self._is_copied or has_closure or clock.is_shared)
                if key in clock.left and not has_closure:
                    self._hear(clock, optimizer)

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        key = id(optimizer)
        if key not in self._inside:
            # A step that calls the step of its parent class is heard twice.
            return
        self._inside.discard(key)
        self._stepped.add(key)
        for clock in self._clocks:
            if key in clock.left:
                if _has_closure(args, kwargs):
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

    def _is_due(self, step: int) -> bool:
        """The schedule's answer, asked once for each step."""
        if self._asked[0] != step:
            self._asked = step, bool(self._schedule(step))
        return self._asked[1]

    def _open(self, step: int, clocks: Iterable[Clock]) -> None:
        for clock in clocks:
            if clock.due is not None and clock.due >= step:
                continue
            if clock.left:
                self._give_up(clock)
            elif clock.due is not None:
                self._journal.settle(clock)
            clock.open(step)
            self._journal.expect(clock)
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
        clock.stop()

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
