"""Looks back: saved checkpoints, measured one after the other into the layout of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from plastikit.errors import ConfigurationError
from plastikit.record.provenance import provenance
from plastikit.record.store import RunStore
from plastikit.schema import FAILED, FINISHED, INTERRUPTED, OBSERVED, Definition
from plastikit.watch.capture import NetworkWatch
from plastikit.watch.layers import AUTO, Layers, find_layers
from plastikit.watch.ledger import Ledger
from plastikit.watch.look import Probes, call, fixed, look, resolve_probes
from plastikit.watch.packing import Packings, Readings, merge, pack
from plastikit.watch.probe import Capture, Needs, Probe, Reading, Tier
from plastikit.watch.recorder import Recorder
from plastikit.watch.registry import is_of_features
from plastikit.watch.saved import Checkpoint, in_order, load_into
from plastikit.watch.undisturbed import undisturbed

_NETWORK: Final = "model"
_SHOWN: Final = Needs.FEATURES | Needs.PRE_ACTIVATIONS | Needs.PARAMETERS | Needs.INITIAL
"""What saved weights and a batch show; gradients, updates and losses belong to training."""
_INITIAL: Final = "Of saved checkpoints, the first of which stands for the initial state."


def measure_checkpoints(
    paths: Sequence[str | os.PathLike[str]],
    model: nn.Module,
    inputs: Any,
    *,
    store: str | os.PathLike[str],
    probes: Probes = "default",
    layers: Layers = AUTO,
    groups: Sequence[int] | Tensor | None = None,
    key: str | None = None,
    on_each: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Checkpoint]:
    """Measure saved checkpoints of a model on one batch, into a new run with one record for each.

    What is measured on the batch has ``observed_`` before its name, as of ``Monitor.observe``; norms of the
    parameters have their plain names. The distance from initialisation is that from the checkpoint of the first step.
    A checkpoint's step is its entry ``step``, or the last number in its file's name, or its place in the order given,
    whichever all of them have. Probes that look at gradients, updates or losses have nothing to look at: they are
    left out of ``"default"``, and refused by name.

    Args:
        paths: Files that ``torch.save`` wrote: a state dict, or a mapping that holds one.
        model: What the weights are put into; its own are lost.
        inputs: What the model is called with: one argument, a tuple of them, or a dictionary of keywords.
        store: Path of the new run, a folder that ends in ``.zarr``.
        probes: Names or probes, as in ``attach``.
        layers: Which modules to watch, as in ``attach``.
        groups: One integer per sample, such as its task.
        key: Where the state dict lies in each file, such as ``agent.actor``; by default it is looked for.
        on_each: Called after each checkpoint with the number done and that of all.

    Returns:
        The checkpoints in the order of their steps.

    Raises:
        ConfigurationError: a checkpoint cannot be read or does not fit, or the model cannot be called with the inputs.
        NothingToWatchError: no layer to watch was found.
        StoreExistsError: something lies at ``store`` already.
    """
    chosen = _measurable(probes)
    watch = NetworkWatch(_NETWORK, model, find_layers(model, layers), groups=fixed(groups), sees_all=True)
    checkpoints, source = in_order([Path(path) for path in paths], model, key)
    _try(model, inputs)
    run = RunStore(
        store,
        configuration={"checkpoints": [checkpoint.path.name for checkpoint in checkpoints], "step_from": source},
        provenance=provenance(),
        watching={"probes": {probe.name: repr(probe) for probe in chosen}},
    )
    try:
        recorder = Recorder(run, [_Recorded(probe) for probe in chosen], [watch], Ledger(len(chosen)))
        initial: dict[str, Tensor] = {}
        packings: Packings = {}
        for done, checkpoint in enumerate(checkpoints, start=1):
            load_into(model, checkpoint.path, key)
            initial = initial or watch.snapshot()
            readings, problems = _read(watch, inputs, chosen, initial)
            packed = pack(readings, packings)
            if packed is not None:
                recorder.write(checkpoint.step, packed, None, {})
            run.event("checkpoint", checkpoint.path.name, checkpoint.step)
            for problem in problems:
                run.event("warning", problem, checkpoint.step)
            on_each(done, len(checkpoints))
    except KeyboardInterrupt:
        run.close(INTERRUPTED, error="interrupted")
        raise
    except BaseException as error:
        run.close(FAILED, error=f"{type(error).__name__}: {error}")
        raise
    run.close(FINISHED)
    return checkpoints


@dataclass(frozen=True)
class _Recorded:
    """A probe whose passports say what stands for the initial state here."""

    probe: Probe

    @property
    def name(self) -> str:
        return self.probe.name

    @property
    def tier(self) -> Tier:
        return self.probe.tier

    @property
    def needs(self) -> Needs:
        return self.probe.needs

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        return self.probe.axes

    @property
    def definitions(self) -> tuple[Definition, ...]:
        if Needs.INITIAL not in self.needs:
            return self.probe.definitions
        return tuple(
            replace(definition, description=f"{definition.description} {_INITIAL}")
            for definition in self.probe.definitions
        )

    def __call__(self, capture: Capture) -> Reading:
        return self.probe(capture)


def _measurable(probes: Probes) -> list[Probe]:
    """The probes that saved weights and a batch suffice for."""
    chosen = resolve_probes(probes)
    lacking = {probe.name: probe.needs & ~_SHOWN for probe in chosen if probe.needs & ~_SHOWN}
    if lacking and probes != "default":
        name, needs = next(iter(lacking.items()))
        wanted = ", ".join(str(need.name).lower().replace("_", " ") for need in needs)
        raise ConfigurationError(
            f"the probe {name!r} looks at {wanted}, which saved weights do not show; leave it out, or attach a "
            "monitor to the training"
        )
    return [probe for probe in chosen if probe.name not in lacking]


def _read(watch: NetworkWatch, inputs: Any, probes: Sequence[Probe], initial: Mapping[str, Tensor]) -> Any:
    """Readings of the weights as they stand, those of the batch under their names; and what could not be measured."""
    reading, problems = look(watch, inputs, probes, initial)
    of_batch = {definition.variable for probe in probes if is_of_features(probe) for definition in probe.definitions}
    readings: Readings = {}
    merge(readings, {f"{OBSERVED}{name}" if name in of_batch else name: row for name, row in reading.items()})
    return readings, problems


def _try(model: nn.Module, inputs: Any) -> None:
    """One forward, so that inputs that do not fit are known before anything is written."""
    try:
        with undisturbed(model), torch.no_grad():
            call(model, inputs)
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"the model cannot be called with these inputs ({type(error).__name__}: {first_line}); give one argument, "
            "or keywords by their names"
        ) from error
