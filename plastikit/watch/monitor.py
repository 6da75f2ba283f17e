"""Watches models while they train: schedule, capture and probes brought together, a record handed to the store."""

from __future__ import annotations

import functools
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from plastikit.errors import ConfigurationError, NothingToWatchError
from plastikit.record.provenance import provenance
from plastikit.record.store import RunStore
from plastikit.schema import EVALUATION, FAILED, FINISHED, INTERRUPTED, RUNNING, TRAINING
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.clock import Clock, owned_by
from plastikit.watch.ending import forget, save_at_end
from plastikit.watch.journal import Journal, Record
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.look import Probes, fixed, look, measure, named_inputs, named_models, prefix_of, resolve_probes
from plastikit.watch.pace import Pace
from plastikit.watch.probe import Needs, Probe
from plastikit.watch.recorder import Readings, Recorder, merge, number_of
from plastikit.watch.schedule import Schedule, every

__all__ = ["Monitor", "Record", "attach", "measure"]


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
    measured at its next update, if that comes before its next record is due.

    An optimizer that computes gradients in a closure, such as LBFGS, may call it several times: features and gradients
    are those of the last call. ``"auto"`` finds modules, and functions called inside a forward, such as
    ``functional.relu``, are not seen: use ``nn.ReLU()``, or name modules in ``layers``. Models compiled by
    ``torch.compile`` are refused.

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
        ConfigurationError: an argument is not what it can be.
        NothingToWatchError: no layer to watch was found, or the optimizer updates no parameter of the model.
        StoreExistsError: something lies at ``store`` already.
        UnknownNameError: an unknown probe, or a layer that the model does not have.
    """
    networks = [
        NetworkWatch(name, network, find_layers(network, layers), prefix=prefix_of(model, name), groups=groups)
        for name, network in named_models(model).items()
    ]
    return Monitor(
        networks,
        _optimizers(optimizer),
        store=Path(store),
        probes=resolve_probes(probes),
        schedule=schedule,
        metadata=metadata or {},
        is_mapping=isinstance(model, Mapping),
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
        is_mapping: bool,
    ) -> None:
        _check(networks, optimizers, schedule)
        needs = functools.reduce(operator.or_, (probe.needs for probe in probes))
        clocks = [
            Clock(network, owned_by(network, optimizers), network.snapshot() if Needs.INITIAL in needs else {})
            for network in networks
        ]
        self._networks = {network.name: network for network in networks}
        self._is_mapping = is_mapping
        self._probes = probes
        self._store = RunStore(store, configuration=metadata, provenance=provenance())
        self._recorder = Recorder(self._store, probes, networks)
        self._journal = Journal(self._recorder, probes, self._warn)
        self._pace = Pace(
            clocks, optimizers, schedule=schedule, is_copied=Needs.UPDATES in needs, journal=self._journal
        )
        # A script that ends without closing its run loses no record.
        save_at_end(self._save)

    @property
    def steps(self) -> int:
        """Updates since the monitor was attached, a round in which some optimizers have stepped included."""
        return self._pace.steps

    @property
    def layers(self) -> dict[str, str]:
        """Each watched layer, and why it is watched."""
        return {
            f"{network.prefix}{layer.path}": layer.reason
            for network in self._networks.values()
            for layer in network.layers
        }

    def step(self, step: int | None = None, **scalars: Any) -> None:
        """Record scalars, such as a loss, in ``/training``; without an optimizer to listen to, also end a step.

        Without an optimizer, call it after the update and before the gradients are set to zero. A loss recorded after
        ``optimizer.step()`` stands at the number of updates done, one later than the record of that update: the loss
        of the update that the record at step s describes stands at s + 1.

        Args:
            step: The step to record the scalars at; by default the number of updates so far.
            scalars: Numbers, tensors of one element, or mappings of tasks to numbers.
        """
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
        readings: Readings = {}
        probes = [probe for probe in self._probes if Needs.FEATURES in probe.needs and Needs.UPDATES not in probe.needs]
        for name, batch in named_inputs(inputs, self._networks, is_mapping=self._is_mapping).items():
            training = self._networks[name]
            observer = NetworkWatch(
                name, training.model, training.layers, prefix=training.prefix, groups=fixed(groups), sees_all=True
            )
            # Of the same width as in training, or the units of a layer would not be the same.
            observer.units = training.units
            with self._paused():
                reading, problems = look(observer, batch, probes)
            merge(readings, reading)
            self._journal.tell([f"observed: {problem}" for problem in problems])
        self._journal.observe(self.steps, readings)

    def on_record(self, callback: Callable[[Record], None]) -> None:
        """Hand each record on, as it is stored, to ``callback``: a logger of the user's."""
        self._journal.callbacks.append(callback)

    def close(self, state: str = FINISHED, *, error: str | None = None) -> None:
        """Take every hook off, write what is left and close the run; a second call changes nothing."""
        if self._store.state != RUNNING:
            return
        try:
            self._pace.close()
            self._journal.emit(before=None)
            if state == FINISHED:
                self._tell_unseen()
        finally:
            self._store.close(state, error=error)
        forget(self._save)

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

    def _save(self) -> None:
        self._journal.emit(before=None)
        self._store.commit()

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
        seen = {label for network in self._networks.values() for label in network.units}
        unseen = [label for label in self.layers if label not in seen]
        if unseen and any(Needs.FEATURES in probe.needs for probe in self._probes):
            self._warn(f"no forward on a due step went through the layers {', '.join(unseen)}; they were not measured")

    def _warn(self, message: str) -> None:
        warnings.warn(message, stacklevel=_outside())
        self.event("warning", message)


def _outside() -> int:
    """How far up from its caller the first line stands that is neither ours nor torch's."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001  the whole stack would have to be listed otherwise
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in {"plastikit", "torch"}:
        frame, level = frame.f_back, level + 1
    return level


def _optimizers(given: Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer] | None) -> list[Optimizer]:
    if given is None:
        return []
    if isinstance(given, Optimizer):
        return [given]
    found = list(given.values() if isinstance(given, Mapping) else given) if isinstance(given, Iterable) else [given]
    for entry in found:
        if not isinstance(entry, Optimizer):
            raise ConfigurationError(
                f"optimizer is a {type(entry).__name__}, where a torch optimizer was expected; give what updates the "
                "model, or none and call monitor.step() after each update"
            )
    return list({id(optimizer): optimizer for optimizer in found}.values())


def _check(networks: Sequence[NetworkWatch], optimizers: Sequence[Optimizer], schedule: Schedule) -> None:
    """All that can be wrong, before anything is written or hooked."""
    for network in networks:
        for name, parameter in network.named.items():
            if isinstance(parameter, UninitializedParameter):
                raise ConfigurationError(
                    f"parameter {name} has no shape yet; run one forward through the lazy module before attaching"
                )
    if optimizers and not any(owned_by(network, optimizers) for network in networks):
        raise NothingToWatchError(
            f"the optimizer updates no parameter of {', '.join(network.name for network in networks)}; "
            "give the optimizer that was built from this model's parameters"
        )
    if not callable(schedule) or isinstance(schedule, type):
        raise ConfigurationError(
            f"schedule is {schedule!r}, where a function of the step was expected; give such as every(100)"
        )
