"""Watches models while they train: schedule, capture and probes brought together, a record handed to the store."""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from plastikit.errors import NothingToWatchError
from plastikit.record.provenance import provenance
from plastikit.record.store import RunStore
from plastikit.schema import EVALUATION, FAILED, FINISHED, INTERRUPTED, TRAINING
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.look import Probes, fixed, look, measure, named_models, prefix_of, resolve_probes
from plastikit.watch.probe import Needs, Probe
from plastikit.watch.recorder import Measured, Readings, Recorder, merge, to_host
from plastikit.watch.schedule import Schedule, every

__all__ = ["Monitor", "Record", "attach", "measure"]


@dataclass(frozen=True)
class Record:
    """One record, as ``on_record`` hands it on."""

    step: int
    values: Measured
    """Variable -> layer, parameter or network -> array along the variable's further dimensions."""


@dataclass
class _Row:
    """A record in the making: readings of the networks measured so far, and who is still awaited."""

    step: int
    awaited: set[str]
    readings: Readings = field(default_factory=dict)
    stamps: dict[str, float] = field(default_factory=dict)


@dataclass
class _Clock:
    """Where one network stands: the record it is due for, and the optimizers that have yet to update it for that."""

    watch: NetworkWatch
    owners: frozenset[int]
    due: int | None = None
    before: Mapping[str, Tensor] | None = None
    left: set[int] = field(default_factory=set)


def attach(
    model: nn.Module | Mapping[str, nn.Module],
    *,
    optimizer: Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer] | None = None,
    store: str | os.PathLike[str],
    probes: Probes = "default",
    schedule: Schedule = every(100),
    layers: Layers = AUTO,
    groups: Groups | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Monitor:
    """Start to watch ``model``; records go to a new run at ``store``.

    A record at step s describes the network as it stands before its (s + 1)-th update, seen on that update's batch: the
    last forward with gradients enabled before the optimizer steps. Where the optimizers of several networks keep
    different paces, a step is one round in which each steps at most once, and a network that sits a due round out is
    measured at its next update.

    Args:
        model: A module, or a mapping of names to modules, such as ``{"actor": actor, "critic": critic}``.
        optimizer: What updates it; one, several, or a mapping. Without any, call ``Monitor.step`` after each update.
        store: Path of the new run, a folder that ends in ``.zarr``.
        probes: ``"default"`` for all, or names and probe objects: ``["dormancy", FeatureRank(delta=0.05)]``.
        schedule: When to record: ``every(100)``, ``log_spaced(10)``, ``at([0, 1000])``, or any function of the step.
        layers: ``"auto"`` for every activation module, names or patterns, or a mapping of those to their unit axis.
        groups: From a forward's inputs to one integer per sample, such as its task.
        metadata: What ``open_runs`` should know of the run: ``{"task_count": 10, "width": 400, "seed": 1}``.

    Raises:
        NothingToWatchError: no layer to watch was found, or the optimizer updates no parameter of the model.
        StoreExistsError: something lies at ``store`` already.
        UnknownNameError: an unknown probe, or a layer that the model does not have.
    """
    return Monitor(
        [
            NetworkWatch(name, network, find_layers(network, layers), prefix=prefix_of(model, name), groups=groups)
            for name, network in named_models(model).items()
        ],
        _optimizers(optimizer),
        store=Path(store),
        probes=resolve_probes(probes),
        schedule=schedule,
        metadata=metadata or {},
    )


class Monitor:
    """Records what the probes see of models in training. Made by ``attach``; a context manager."""

    def __init__(
        self,
        networks: Sequence[NetworkWatch],
        optimizers: Sequence[Optimizer],
        *,
        store: Path,
        probes: Sequence[Probe],
        schedule: Schedule,
        metadata: Mapping[str, Any],
    ) -> None:
        self._probes = probes
        self._needs = Needs(0)
        for probe in probes:
            self._needs |= probe.needs
        self._schedule = schedule
        self._optimizers = frozenset(map(id, optimizers))
        self._clocks = {network.name: _Clock(network, _owners(network, optimizers)) for network in networks}
        if optimizers and not any(clock.owners for clock in self._clocks.values()):
            raise NothingToWatchError(
                f"the optimizer updates no parameter of {', '.join(self._clocks)}; "
                "give the optimizer that was built from this model's parameters"
            )
        self._initial = {network.name: network.snapshot() for network in networks if Needs.INITIAL in self._needs}
        self._store = RunStore(store, configuration=metadata, provenance=provenance())
        self._recorder = Recorder(self._store, probes, networks)
        self._observers: dict[str, NetworkWatch] = {}
        self._callbacks: list[Callable[[Record], None]] = []
        self._rows: dict[int, _Row] = {}
        self._stamps: dict[str, float] = {}
        self._round = 0
        self._stepped: set[int] = set()
        self._handles: list[RemovableHandle] = [
            handle
            for optimizer in optimizers
            for handle in (
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            )
        ]
        # A script that ends without closing its run loses no record.
        atexit.register(self._store.commit)
        self._open(0, self._clocks)

    @property
    def steps(self) -> int:
        """Updates finished since the monitor was attached."""
        return self._round

    @property
    def layers(self) -> dict[str, str]:
        """Each watched layer, and why it is watched."""
        return {
            f"{clock.watch.prefix}{layer.path}": layer.reason
            for clock in self._clocks.values()
            for layer in clock.watch.layers
        }

    def step(self, step: int | None = None, **scalars: Any) -> None:
        """Record scalars, such as a loss, in ``/training``; without an optimizer to listen to, also end a step.

        Args:
            step: The step to record the scalars at; by default the number of updates finished.
            scalars: Numbers, tensors of one element, or mappings of tasks to numbers.
        """
        if not self._optimizers:
            for clock in self._clocks.values():
                if clock.due is not None:
                    self._finish(clock)
            self._advance()
        if scalars:
            at = self._round if step is None else step
            self._recorder.write_scalars(TRAINING, at, scalars, self._stamps)

    def stamp(self, **coordinates: float) -> None:
        """Set coordinates, such as ``env_step``, that all records from now on carry."""
        self._stamps.update(coordinates)

    def evaluation(self, **values: Mapping[str, float]) -> None:
        """Record an evaluation of the networks as they stand: for each value a mapping of tasks to numbers."""
        self._recorder.write_scalars(EVALUATION, self._round, values, self._stamps)

    def event(self, kind: str, message: str) -> None:
        """Note in the run that something happened at this step."""
        self._store.event(kind, message, self._round)

    def observe(self, inputs: Any, groups: Sequence[int] | Tensor | None = None) -> None:
        """Measure the activations on a batch of the user's, such as a fixed probe set, outside training.

        The values are stored under ``observed_`` names, apart from those of training batches. Parameters, gradients,
        module modes, buffers and random state stay as they are.

        Args:
            inputs: What the model is called with: one argument, a tuple of them, or a dictionary of keywords; with
                several networks a mapping of their names to that.
            groups: One integer per sample, such as its task.
        """
        readings: Readings = {}
        probes = [probe for probe in self._probes if Needs.FEATURES in probe.needs]
        of_network = dict(inputs) if len(self._clocks) > 1 else {next(iter(self._clocks)): inputs}
        for name, batch in of_network.items():
            training = self._clocks[name].watch
            training.is_paused = True
            try:
                observer = NetworkWatch(
                    name, training.model, training.layers, prefix=training.prefix, groups=fixed(groups), sees_all=True
                )
                merge(readings, look(observer, batch, probes))
            finally:
                training.is_paused = False
            training.units.update(observer.units)
        self._emit(before=self._round)
        self._recorder.write(self._round, to_host(readings), self._stamps, is_observed=True)

    def on_record(self, callback: Callable[[Record], None]) -> None:
        """Hand each record on, as it is stored, to ``callback``: a logger of the user's."""
        self._callbacks.append(callback)

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:
        """Take every hook off, write what is left and close the run; a second call changes nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for clock in self._clocks.values():
            clock.watch.disarm()
            clock.before = clock.due = None
        self._emit(before=None)
        if not self._round and not error:
            warnings.warn(
                "the monitor was closed before it saw a step; pass optimizer=, or call monitor.step() after each update",
                stacklevel=2,
            )
        self._store.close(state, error=error)
        atexit.unregister(self._store.commit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close(INTERRUPTED, error=f"interrupted after {self._round} updates")
        else:
            self.close(FAILED, error=f"{type(error).__name__}: {error}")

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        if id(optimizer) in self._stepped:
            self._advance()
        for clock in self._clocks.values():
            if id(optimizer) in clock.owners and clock.due is not None and clock.due <= self._round and not clock.left:
                clock.left = set(clock.owners)
                self._begin(clock)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._stepped.add(id(optimizer))
        mine = {name: clock for name, clock in self._clocks.items() if id(optimizer) in clock.owners}
        for clock in mine.values():
            if clock.left:
                clock.left.discard(id(optimizer))
                if not clock.left:
                    self._finish(clock)
        if self._stepped >= self._optimizers:
            self._advance()
        elif self._schedule(self._round + 1):
            # Its next forward may come before the others have ended this round.
            self._open(self._round + 1, {name: clock for name, clock in mine.items() if not clock.left})

    def _advance(self) -> None:
        """End the round: everything that is due in the next one gets its hooks."""
        for clock in self._clocks.values():
            if self._optimizers and not clock.owners and clock.due is not None:
                self._begin(clock)
                self._finish(clock)
        self._round += 1
        self._stepped.clear()
        if self._schedule(self._round):
            self._open(self._round, self._clocks)
        self._emit(before=self._round)

    def _open(self, step: int, clocks: Mapping[str, _Clock]) -> None:
        for name, clock in clocks.items():
            if clock.due is not None and (clock.due >= step or clock.left):
                continue
            if clock.due is not None:
                self._rows[clock.due].awaited.discard(name)
            self._rows.setdefault(step, _Row(step, set())).awaited.add(name)
            clock.due = step
            clock.watch.arm()
            if not self._optimizers:
                clock.before = self._before(clock)

    def _begin(self, clock: _Clock) -> None:
        """The part of the record that describes the network before its update."""
        clock.before = self._before(clock)
        self._measure(clock, [probe for probe in self._probes if Needs.UPDATES not in probe.needs], {})

    def _finish(self, clock: _Clock) -> None:
        """The part of the record that describes the update itself."""
        updated = clock.watch.current()
        probes = [probe for probe in self._probes if not self._optimizers or Needs.UPDATES in probe.needs]
        self._measure(clock, probes, updated if clock.owners or not self._optimizers else {})
        assert clock.due is not None  # noqa: S101  a network is finished for the record that it is due for
        self._rows[clock.due].awaited.discard(clock.watch.name)
        clock.due = clock.before = None
        clock.watch.disarm()

    def _before(self, clock: _Clock) -> Mapping[str, Tensor]:
        lasts = Needs.UPDATES in self._needs or not self._optimizers
        return clock.watch.snapshot() if lasts else clock.watch.current()

    @torch.no_grad()
    def _measure(self, clock: _Clock, probes: Sequence[Probe], updated: Mapping[str, Tensor]) -> None:
        assert clock.due is not None  # noqa: S101  measured for the record that it is due for
        assert clock.before is not None  # noqa: S101
        row = self._rows[clock.due]
        row.stamps = row.stamps or dict(self._stamps)
        needs = Needs(0)
        for probe in probes:
            needs |= probe.needs
        capture, stale = clock.watch.capture(
            needs,
            parameters=clock.before,
            initial=self._initial.get(clock.watch.name, {}),
            updated=updated,
        )
        for label in stale:
            self._warn(f"layer {label} was written into after it was computed; it is not measured at step {row.step}")
        for probe in probes:
            merge(row.readings, probe(capture))

    def _emit(self, *, before: int | None) -> None:
        """Hand over, in the order of steps, the rows that nobody is awaited for; all of them where ``before`` is None."""
        for step in sorted(self._rows):
            row = self._rows[step]
            if before is not None and (row.awaited or step >= before):
                break
            del self._rows[step]
            if not row.readings:
                continue
            measured = to_host(row.readings)
            self._recorder.write(step, measured, row.stamps)
            for callback in self._callbacks:
                callback(Record(step, measured))

    def _warn(self, message: str) -> None:
        warnings.warn(message, stacklevel=2)
        self.event("warning", message)


def _optimizers(given: Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer] | None) -> list[Optimizer]:
    if given is None:
        return []
    if isinstance(given, Optimizer):
        return [given]
    return list(given.values() if isinstance(given, Mapping) else given)


def _owners(network: NetworkWatch, optimizers: Sequence[Optimizer]) -> frozenset[int]:
    own = {id(parameter) for parameter in network.named.values()}
    return frozenset(
        id(optimizer)
        for optimizer in optimizers
        if any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])
    )
