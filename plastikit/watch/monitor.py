"""Watches models while they train: schedule, capture and probes brought together, a record handed to the store."""

from __future__ import annotations

import fnmatch
import functools
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.record.provenance import provenance
from plastikit.record.store import OnError, RunStore
from plastikit.schema import EVALUATION, FAILED, FINISHED, INTERRUPTED, RUNNING, TRAINING
from plastikit.watch.agenda import Scheduled
from plastikit.watch.arguments import check, optimizers_of
from plastikit.watch.budget import Governor
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.clock import Clock, owned_by
from plastikit.watch.company import company_of
from plastikit.watch.ending import end_with_process, forget
from plastikit.watch.journal import Journal, Record
from plastikit.watch.layers import AUTO, Layers, Watched, find_layers
from plastikit.watch.ledger import Ledger
from plastikit.watch.look import Probes, fixed, look, measure, named_inputs, named_models, prefix_of, resolve_probes
from plastikit.watch.once import take_over
from plastikit.watch.pace import Pace
from plastikit.watch.packing import Readings, merge
from plastikit.watch.probe import Needs, Probe
from plastikit.watch.recorder import Recorder, number_of
from plastikit.watch.registry import is_of_features
from plastikit.watch.schedule import DEFAULT, Budget, Schedule, told
from plastikit.watch.telling import warn
from plastikit.watch.together import Alone, Elsewhere

__all__ = ["Monitor", "Record", "attach", "measure"]


def attach(
    model: nn.Module | Mapping[str, nn.Module],
    *,
    optimizer: Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer] | None = None,
    store: str | os.PathLike[str],
    probes: Probes = "default",
    schedule: Schedule | Budget = DEFAULT,
    layers: Layers = AUTO,
    groups: Groups | None = None,
    metadata: Mapping[str, Any] | None = None,
    on_error: OnError = "warn",
) -> Monitor:
    """Start to watch ``model``; records go to a new run at ``store``.

    A model has one open monitor: attached again, it closes the earlier one, whose run keeps all that it recorded.

    A record at step s describes the network as it stands before its (s + 1)-th update, seen on that update's batch: the
    last forward with gradients enabled before the optimizer steps. Where the optimizers of several networks keep
    different paces, a step is one round in which each steps at most once, and a network that sits a due round out is
    measured at its next update, if that comes before its next record is due.

    An optimizer that computes gradients in a closure, such as LBFGS, may call it several times: features and gradients
    are those of the last call. A module compiled by ``torch.compile`` is run once more on a due step, as it was written
    and without gradients, to see its layers: gradients of its features are not measured.

    Args:
        model: A module, or a mapping of names to modules, such as ``{"actor": actor, "critic": critic}``.
        optimizer: What updates it; one, several, or a mapping. Without any, call ``Monitor.step`` after each update.
        store: Path of the new run, a folder that ends in ``.zarr``.
        probes: ``"default"`` for all, or names and probe objects: ``["dormancy", FeatureRank(delta=0.05)]``.
        schedule: When to record: by default ``every(100, costly=500)``, cheap probes every 100 steps and the costly
            ones, such as ranks, every 500; or ``every(10)``, ``log_spaced(10)``, ``at([0, 1000])``, any function of the
            step, or ``budget(0.01)`` for as often as that share of the training time allows.
        layers: ``"auto"`` for every activation, recurrent output and attention; names or patterns, of modules or of
            functions that a forward calls (``"block.relu"``); a mapping of those to their unit axis; or a function of
            the name and the module. ``print(monitor.layers)`` says what is watched and why.
        groups: From a forward's inputs to one integer per sample, such as its task.
        metadata: What ``open_runs`` should know of the run: ``{"task_count": 10, "width": 400, "seed": 1}``.
        on_error: With ``"warn"``, a disk that fails, a probe or a callback does not end the training: it is told, in a
            warning and an event, records wait in memory and the run says what was lost. ``"raise"`` raises.

    Processes that train one model together, by ``DistributedDataParallel`` or ``fully_shard``, call this in each. On
    due steps all of them meet, and the first one measures and writes: the batches of all processes joined, the loss
    being the mean of their losses. In the others every method may be called and records nothing; ``observe`` measures
    the first one's inputs, and of a sharded model it needs all of them.

    Raises:
        ConfigurationError: an argument is not what it can be.
        NothingToWatchError: no layer to watch was found, or the optimizer updates no parameter of the model.
        StoreExistsError: something lies at ``store`` already.
        UnknownNameError: an unknown probe, or a layer that the model does not have.
    """
    company = company_of(named_models(model).values())
    networks = [
        NetworkWatch(name, network, find_layers(network, layers), prefix=prefix_of(model, name), groups=groups)
        for name, network in named_models(model).items()
    ]
    return Monitor(
        networks,
        optimizers_of(optimizer),
        store=store,
        probes=resolve_probes(probes),
        schedule=schedule,
        metadata=metadata or {},
        is_mapping=isinstance(model, Mapping),
        company=company,
        on_error=on_error,
    )


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
        on_error: OnError = "warn",
    ) -> None:
        check(networks, optimizers, schedule)
        needs = functools.reduce(operator.or_, (probe.needs for probe in probes))
        clocks = [
            Clock(network, owned_by(network, optimizers), network.snapshot() if Needs.INITIAL in needs else {})
            for network in networks
        ]
        self._networks = {network.name: network for network in networks}
        self._is_mapping = is_mapping
        self._probes = probes
        self._company = company
        watching = {"schedule": told(schedule), "probes": {probe.name: repr(probe) for probe in probes}}
        self._store = company.open(
            lambda: RunStore(
                store,
                configuration=metadata,
                provenance=provenance(),
                watching=watching,
                on_error=on_error,
                tell=self._warn,
            ),
            watching | {"the networks": list(self._networks), "the number of optimizers": len(optimizers)},
        )
        take_over([network.model for network in networks], self)
        self._ledger = Ledger(len(probes))
        self._recorder = (
            self._store if isinstance(self._store, Elsewhere) else Recorder(self._store, probes, networks, self._ledger)
        )
        self._journal = Journal(
            self._recorder, probes, self._ledger, company, self._warn, is_strict=on_error == "raise"
        )
        self._pace = Pace(
            clocks,
            optimizers,
            agenda=company.agenda(
                Governor(schedule.fraction, probes, self._ledger)
                if isinstance(schedule, Budget)
                else Scheduled(schedule, probes)
            ),
            journal=self._journal,
            ledger=self._ledger,
        )
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
        self._journal.stamps |= {name: number_of(name, value) for name, value in coordinates.items()}

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
        pieces of the batch, one backward pass each, and leaves the parameters' ``.grad`` and the graph as they are.
        Hooks of your own on tensors of the graph run in each of these passes; ``retain_grad()`` adds them all up.

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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, KeyboardInterrupt):
            self.close(INTERRUPTED, error=f"interrupted after {self.steps} updates")
        else:
            self.close(FAILED, error=f"{type(error).__name__}: {error}")

    def _end(self, state: str, error: str | None) -> None:
        """The process ends: whatever else is going on, what was recorded is written."""
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
