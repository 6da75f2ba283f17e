"""Watches models while they train: schedule, capture and probes brought together, a record handed to the store."""

from __future__ import annotations

import fnmatch
import functools
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from torch.optim import Optimizer

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.record.provenance import provenance
from plastikit.record.store import OnError, RunStore
from plastikit.schema import EVALUATION, FAILED, FINISHED, INTERRUPTED, RUNNING, TRAINING
from plastikit.watch.agenda import Scheduled
from plastikit.watch.arguments import check
from plastikit.watch.budget import Governor
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.clock import Clock, owned_by
from plastikit.watch.ending import end_with_process, forget
from plastikit.watch.journal import Journal, Record
from plastikit.watch.layers import Watched
from plastikit.watch.ledger import Ledger
from plastikit.watch.look import fixed, look, measure, named_inputs
from plastikit.watch.once import take_over
from plastikit.watch.pace import Pace
from plastikit.watch.packing import Readings, merge
from plastikit.watch.past import Past
from plastikit.watch.probe import Needs, Probe
from plastikit.watch.recorder import Recorder, number_of
from plastikit.watch.registry import is_of_features
from plastikit.watch.schedule import Budget, Schedule, told
from plastikit.watch.telling import warn
from plastikit.watch.together import Alone, Elsewhere

__all__ = ["Monitor", "Record", "measure"]


class Monitor:
    """Records what the probes see of models in training. Made by ``attach``; a context manager."""

    def __init__(
        self,
        networks: Sequence[NetworkWatch],
        optimizers: Sequence[Optimizer],
        *,
        store: str | os.PathLike[str],
        probes: Sequence[Probe],
        schedule: Schedule | Budget,
        metadata: Mapping[str, Any],
        is_mapping: bool,
        company: Alone,
        resume: Mapping[str, Any] | None = None,
        on_error: OnError = "warn",
    ) -> None:
        check(networks, optimizers, schedule)
        past = None if resume is None else Past.of(resume, probes)
        needs = functools.reduce(operator.or_, (probe.needs for probe in probes))
        clocks = [
            Clock(
                network,
                owned_by(network, optimizers),
                {} if Needs.INITIAL not in needs else past.initial(network) if past else network.snapshot(),
            )
            for network in networks
        ]
        self._networks = {network.name: network for network in networks}
        self._is_mapping = is_mapping
        self._probes = probes
        self._company = company
        watching = {
            "schedule": told(schedule),
            "probes": {probe.name: repr(probe) for probe in probes},
            "networks": list(self._networks),
            "layers": networks[0].choice.told,
        }
        if past is not None:
            # Run again in the same session, an attach takes the place of the one before, which holds the run.
            take_over([network.model for network in networks], self)
        self._store = company.open(
            lambda: RunStore(
                store,
                configuration=metadata,
                provenance=provenance(),
                watching=watching,
                resume=past,
                on_error=on_error,
                tell=self._warn,
            ),
            watching | {"the number of optimizers": len(optimizers)},
        )
        take_over([network.model for network in networks], self)
        self._ledger = Ledger(len(probes))
        self._recorder = (
            self._store if isinstance(self._store, Elsewhere) else Recorder(self._store, probes, networks, self._ledger)
        )
        self._journal = Journal(
            self._recorder, probes, self._ledger, company, self._warn, is_strict=on_error == "raise"
        )
        agenda = company.agenda(
            Governor(schedule.fraction, probes, self._ledger)
            if isinstance(schedule, Budget)
            else Scheduled(schedule, probes)
        )
        start = 0 if past is None else past.step
        self._clocks = clocks
        self._pace = Pace(
            clocks,
            optimizers,
            agenda=agenda,
            journal=self._journal,
            ledger=self._ledger,
            start=start,
            # The first record of all, and the first by which a budget knows what one costs, hold everything.
            first=agenda(start) if start and not isinstance(schedule, Budget) else agenda.everything,
        )
        self._is_inside = False
        """Whether a ``with`` block of the user's is open."""
        # A script that ends without closing its run loses no record.
        end_with_process(self._end)

    @property
    def is_open(self) -> bool:
        """Whether the run goes on."""
        return self._store.state == RUNNING

    @property
    def steps(self) -> int:
        """Updates since the monitor was attached, a round in which some optimizers have stepped included."""
        return self._pace.steps

    @property
    def is_due(self) -> bool:
        """Whether a record is on its way, so that the next update is looked at."""
        return not self._pace.is_idle

    @property
    def layers(self) -> Watched:
        """Each watched layer, and why it is watched; functions that a forward calls are met when it first runs."""
        return Watched({label: why for network in self._networks.values() for label, why in network.layers.items()})

    def step(self, step: int | None = None, **scalars: Any) -> None:
        """Record scalars, such as a loss, in ``/training``; without an optimizer to listen to, also end a step.

        Without an optimizer, call it after the update and before the gradients are set to zero. A loss recorded after
        ``optimizer.step()`` stands at the number of updates done, one later than the record of that update: the loss
        of the update that the record at step s describes stands at s + 1.

        Args:
            step: The step to record the scalars at; by default the number of updates so far.
            scalars: Numbers, tensors of one element, or mappings of tasks to numbers.
        """
        if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step < 0):
            raise ConfigurationError(f"step is {step!r}, where a whole number from 0 on was expected; count updates")
        self._pace.end_step()
        if scalars:
            self._recorder.write_scalars(TRAINING, self.steps if step is None else step, scalars, self._journal.stamps)

    def stamp(self, **coordinates: float) -> None:
        """Set coordinates, such as ``env_step``, that all records from now on carry."""
        stamps = {name: number_of(name, value) for name, value in coordinates.items()}
        self._recorder.check_stamps(stamps)
        self._journal.stamps |= stamps

    def evaluation(self, **values: Mapping[str, float]) -> None:
        """Record an evaluation of the networks as they stand: for each value a mapping of tasks to numbers."""
        self._recorder.write_scalars(EVALUATION, self.steps, values, self._journal.stamps)

    def event(self, kind: str, message: str) -> None:
        """Note in the run that something happened at this step."""
        self._store.event(kind, message, self.steps)

    def observe(self, inputs: Any, groups: Sequence[int] | Tensor | None = None) -> None:
        """Measure the activations on a batch of the user's, such as a fixed probe set, outside training.

        The values are stored under ``observed_`` names, apart from those of training batches. Parameters, gradients,
        module modes, buffers and random state stay as they are.

        Args:
            inputs: What the model is called with: one argument, a tuple of them, or a dictionary of keywords; where
                ``attach`` was given a mapping of networks, a mapping of their names to that.
            groups: One integer per sample, such as its task.
        """
        if not self._company.is_writer and not self._company.is_sharded:
            return
        readings: Readings = {}
        probes = [probe for probe in self._probes if is_of_features(probe)]
        for name, batch in named_inputs(inputs, self._networks, is_mapping=self._is_mapping).items():
            training = self._networks[name]
            observer = NetworkWatch(
                name,
                training.model,
                training.choice,
                prefix=training.prefix,
                groups=fixed(groups),
                sees_all=True,
                # Of the same width as in training, or the units of a layer would not be the same.
                units=training.units,
            )
            # Of a sharded network every process computes its part; the values are those of the one that writes.
            with self._paused():
                reading, problems = look(observer, batch, probes)
            merge(readings, reading)
            self._journal.tell([f"observed: {problem}" for problem in problems])
        if self._company.is_writer:
            self._journal.observe(self.steps, readings)

    def losses(
        self,
        losses: Tensor | Mapping[Any, Tensor],
        groups: Sequence[int] | Tensor | None = None,
        *,
        shared: Sequence[str] | None = None,
        network: str | None = None,
    ) -> None:
        """Tell the loss of each sample, from which conflict between groups and the noise of gradients are measured.

        Call it before ``backward()``; between due steps it returns at once. On a due step it takes the gradients of
        pieces of the batch: by two backward passes where layers keep samples in rows, by one for each piece elsewhere.
        The parameters' ``.grad`` and the graph stay as they are. Hooks of your own on tensors of the graph run in each
        of these passes; ``retain_grad()`` adds them all up.

        >>> losses = nn.functional.mse_loss(model(inputs), targets, reduction="none")  # doctest: +SKIP
        >>> monitor.losses(losses, groups=task)  # doctest: +SKIP
        >>> losses.mean().backward()  # doctest: +SKIP

        Args:
            losses: The loss of each sample, [sample, ...]; or a mapping of groups to the loss of each.
            groups: One integer per sample, such as its task.
            shared: Names or patterns of the parameters to look at; by default those that at least two groups reach.
            network: Which network learns from these losses; by default every one that they depend on.

        Raises:
            ConfigurationError: losses without a graph, without a sample dimension, or that groups do not fit.
            UnknownNameError: a network or a parameter that there is not.
        """
        if network is not None and network not in self._networks:
            raise UnknownNameError.of("network", network, self._networks)
        if self._company.is_several:
            if self._company.is_writer:
                self._journal.tell(["losses of one process among several are not looked at"])
            return
        patterns = [shared] if isinstance(shared, str) else shared
        named = [name for each in self._networks.values() for name in each.named]
        for pattern in patterns or ():
            if not fnmatch.filter(named, pattern):
                raise UnknownNameError.of("parameter", pattern, named)
        self._pace.hear_losses(losses, groups, patterns, network)

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on from a checkpoint needs of its monitor: save it there, hand it to ``attach``.

        Holds the number of updates, the parameters as they were when the monitor was first attached, and what probes
        remember. Its tensors are the monitor's own: save them, or copy them. What was recorded until now is committed,
        so that a training that goes on from here finds it.

        >>> torch.save({"model": model.state_dict(), "monitor": monitor.state_dict()}, path)  # doctest: +SKIP
        >>> monitor = attach(model, store="run.zarr", resume=torch.load(path)["monitor"])  # doctest: +SKIP
        """
        self._journal.emit(before=self.steps)
        self._store.commit()
        return Past.state_of(self._store, self.steps, self._clocks, self._probes)

    def on_record(self, callback: Callable[[Record], None]) -> None:
        """Hand each record on, as it is stored, to ``callback``: a logger of the user's."""
        self._journal.callbacks.append(callback)

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:
        """Take every hook off, write what is left and close the run; a second call changes nothing."""
        if self._store.state != RUNNING:
            return
        self._company.leave()
        try:
            self._pace.close()
            self._journal.emit(before=None)
            if state == FINISHED and self._company.is_writer:
                self._tell_unseen()
        finally:
            self._close_store(state, error)

    def __enter__(self) -> Self:
        self._is_inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close(INTERRUPTED, error=f"interrupted after {self.steps} updates")
        elif isinstance(error, SystemExit) and not error.code:
            self.close()
        else:
            self.close(FAILED, error=f"{type(error).__name__}: {error}")

    def _end(self, state: str, error: str | None) -> None:
        """The process ends: whatever else is going on, what was recorded is written."""
        if self._is_inside and state == FINISHED:
            # An interrupt can come at the very moment in which the block is left, and cut that off.
            state, error = INTERRUPTED, f"interrupted after {self.steps} updates"
        try:
            self._journal.emit(before=None)
        finally:
            self._close_store(state, error)

    def _close_store(self, state: str, error: str | None) -> None:
        self._store.close(state, error=error)
        if self._store.state != RUNNING:
            forget(self._end)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Inside, no forward counts as one of training."""
        for network in self._networks.values():
            network.is_paused = True
        try:
            yield
        finally:
            for network in self._networks.values():
                network.is_paused = False

    def _tell_unseen(self) -> None:
        if not self.steps:
            self._warn("the monitor saw no update; pass optimizer=, or call monitor.step() after each update")
            return
        unseen = [label for network in self._networks.values() for label in network.unseen]
        if unseen and any(Needs.FEATURES in probe.needs for probe in self._probes):
            self._warn(f"no forward on a due step went through the layers {', '.join(unseen)}; they were not measured")

    def _warn(self, message: str) -> None:
        warn(message)
        self.event("warning", message)
