"""Starts to watch models: the one function that users begin with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from plastikit.record.store import OnError
from plastikit.watch.arguments import optimizers_of
from plastikit.watch.capture import Groups, NetworkWatch
from plastikit.watch.company import company_of
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.look import Probes, named_models, prefix_of, resolve_probes
from plastikit.watch.monitor import Monitor
from plastikit.watch.schedule import DEFAULT, Budget, Schedule


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
    resume: Mapping[str, Any] | None = None,
    on_error: OnError = "warn",
) -> Monitor:
    """Start to watch ``model``; records go to a new run at ``store``, or to the one that is resumed.

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
        store: Path or URL of the run, a folder that ends in ``.zarr``.
        probes: ``"default"`` for all, or names and probe objects: ``["dormancy", FeatureRank(delta=0.05)]``.
        schedule: When to record: by default ``every(100, costly=500)``, cheap probes every 100 steps and the costly
            ones, such as ranks, every 500; or ``every(10)``, ``log_spaced(10)``, ``at([0, 1000])``, any function of the
            step, or ``budget(0.01)`` for as often as that share of the training time allows.
        layers: ``"auto"`` for every activation, recurrent output and attention; names or patterns, of modules or of
            functions that a forward calls (``"block.relu"``); a mapping of those to their unit axis; or a function of
            the name and the module. ``print(monitor.layers)`` says what is watched and why.
        groups: From a forward's inputs to one integer per sample, such as its task.
        metadata: What ``open_runs`` should know of the run: ``{"task_count": 10, "width": 400, "seed": 1}``.
        resume: What ``Monitor.state_dict`` gave for the checkpoint that the training goes on from. The run at ``store``
            is gone on with: what it recorded after that checkpoint is taken out, and recorded again.
        on_error: With ``"warn"``, a disk that fails, a probe or a callback does not end the training: it is told, in a
            warning and an event, records wait in memory and the run says what was lost. ``"raise"`` raises.

    Processes that train one model together, by ``DistributedDataParallel`` or ``fully_shard``, call this in each. On
    due steps all of them meet, and the first one measures and writes: the batches of all processes joined, the loss
    being the mean of their losses. In the others every method may be called and records nothing; ``observe`` measures
    the first one's inputs, and of a sharded model it needs all of them.

    Raises:
        ConfigurationError: an argument is not what it can be, or not what it was in the run that is resumed.
        NotARunError: there is no run to resume.
        NothingToWatchError: no layer to watch was found, or the optimizer updates no parameter of the model.
        StoreExistsError: something lies at ``store`` already.
        StoreInUseError: another process writes the run that is to be resumed.
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
        resume=resume,
        on_error=on_error,
    )
