"""Runs with made-up values in the real layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from plastikit.probes import PROBES
from plastikit.record.provenance import provenance
from plastikit.record.scalars import scalar_attrs
from plastikit.record.store import RunStore
from plastikit.record.table import Column, Table
from plastikit.schema import (
    DIAGNOSTICS,
    EVALUATION,
    FINISHED,
    GROUP,
    LAYER,
    NETWORK,
    PARAMETER,
    PROBE,
    TASK,
    TAU,
    TRAINING,
    UNIT,
    Definition,
)
from plastikit.watch.ledger import PROBE_SECONDS, labels_of
from plastikit.watch.probe import Probe

MEASURED: Final = ("dormancy", "rank", "parameters", "gradients", "updates")
"""The probes whose variables a synthetic run holds."""

Values = npt.NDArray[Any]

_NETWORKS: Final = ("actor", "critic_0", "critic_1")
_TASKS: Final = ("reach-v3", "drawer-close-v3", "window-open-v3", "push-v3", "door-open-v3", "button-press-topdown-v3")


def write_synthetic_run(
    path: str | Path,
    *,
    task_count: int = 3,
    width: int = 32,
    depth: int = 2,
    seed: int = 0,
    records: int = 20,
    interval: int = 100,
    state: str = FINISHED,
    error: str | None = None,
) -> Path:
    """Write a run whose values are made up: more width gives more dormancy and success, more tasks less of both.

    Args:
        path: Where; must not exist.
        task_count: Number of tasks.
        width: Units of each hidden layer.
        depth: Hidden layers of each network.
        seed: Of the noise on the values.
        records: Number of records.
        interval: Updates between two records.
        state: How the run ended.
        error: What it failed of.
    """
    generator = np.random.default_rng([seed, task_count, width])
    tasks = [_TASKS[k] if k < len(_TASKS) else f"task-{k}-v3" for k in range(task_count)]
    store = RunStore(
        Path(path),
        configuration={
            "task_count": task_count,
            "tasks": tasks,
            "width": width,
            "depth": depth,
            "seed": seed,
            "architecture": "multi_head",
        },
        provenance=provenance() | {"synthetic": True},
    )
    probes = [PROBES[name]() for name in MEASURED]
    definitions = [definition for probe in probes for definition in probe.definitions]
    # Without groups there is nothing of them to measure.
    definitions = [definition for definition in definitions if not definition.variable.startswith(f"{GROUP}_")]
    definitions.append(PROBE_SECONDS)
    _declare(store, probes, definitions, tasks, width=width, depth=depth)
    table = store.table(DIAGNOSTICS)
    for record in range(records):
        progress = record / max(1, records - 1)
        row: dict[str, Values | float | str] = {
            definition.variable: _values(
                definition, table, progress=progress, task_count=task_count, width=width, generator=generator
            )
            for definition in definitions
        }
        step = record * interval
        env_step = float(step * task_count)
        store.append(DIAGNOSTICS, step, row | {"env_step": env_step})
        store.append(
            TRAINING,
            step,
            {
                "critic_loss": 5.0 * float(np.exp(-2 * progress)) + generator.uniform(0, 0.2),
                "actor_loss": -20.0 * progress + generator.normal(),
                "env_step": env_step,
            },
        )
        if record % 5 == 4:
            skill = np.clip(progress * np.log2(width) / 8 - 0.03 * task_count, 0, 1)
            success = np.clip(skill + generator.normal(0, 0.05, task_count), 0, 1)
            values = {"success_rate": success, "episode_return": 1000 * success}
            store.append(EVALUATION, step, values | {"env_step": env_step})
    store.close(state, error=error)
    return Path(path)


def write_synthetic_sweep(
    directory: str | Path,
    *,
    tasks: Sequence[int] = (1, 3, 10),
    widths: Sequence[int] = (32, 64, 128),
    seeds: Sequence[int] = (0, 1, 2),
    records: int = 20,
) -> list[Path]:
    """Write a grid of synthetic runs into ``directory``, one per task count, width and seed."""
    return [
        write_synthetic_run(
            Path(directory) / f"tasks-{count}_width-{width}_seed-{seed}.zarr",
            task_count=count,
            width=width,
            seed=seed,
            records=records,
        )
        for count in tasks
        for width in widths
        for seed in seeds
    ]


def _declare(
    store: RunStore,
    probes: Sequence[Probe],
    definitions: Sequence[Definition],
    tasks: list[str],
    *,
    width: int,
    depth: int,
) -> None:
    layers = [(network, f"{network}.trunk.hidden_{k + 1}") for network in _NETWORKS for k in range(depth)]
    parameters = [
        (network, f"{network}.{module}.{kind}", kind)
        for network in _NETWORKS
        for module in (*(f"trunk.linear_{k + 1}" for k in range(depth)), "heads")
        for kind in ("weight", "bias")
    ]
    table = store.table(DIAGNOSTICS)
    table.extend_axis(NETWORK, {NETWORK: np.array(_NETWORKS)})
    table.extend_axis(
        LAYER,
        {
            LAYER: np.array([name for _, name in layers]),
            "layer_network": np.array([network for network, _ in layers]),
            "layer_units": np.full(len(layers), width),
        },
    )
    table.extend_axis(
        PARAMETER,
        {
            PARAMETER: np.array([name for _, name, _ in parameters]),
            "parameter_network": np.array([network for network, _, _ in parameters]),
            "parameter_kind": np.array([kind for _, _, kind in parameters]),
        },
    )
    for dim, values in {dim: values for probe in probes for dim, values in probe.axes.items()}.items():
        table.extend_axis(dim, {dim: np.array(values, dtype=np.float64)})
    table.extend_axis(PROBE, {PROBE: np.array(labels_of(probes))})
    table.extend_axis(
        UNIT,
        {
            "unit_layer": np.repeat(np.arange(len(layers)), width),
            "unit_index": np.tile(np.arange(width), len(layers)),
        },
    )
    for definition in definitions:
        table.declare(definition.variable, Column(dims=definition.dims, attrs=definition.to_attrs()))
    for group in (DIAGNOSTICS, TRAINING, EVALUATION):
        store.table(group).declare("env_step", Column(dtype="float64", coordinate=True))
    for name in ("critic_loss", "actor_loss"):
        store.table(TRAINING).declare(name, Column(dtype="float64", attrs={"long_name": name.replace("_", " ")}))
    evaluation = store.table(EVALUATION)
    evaluation.extend_axis(TASK, {TASK: np.array(tasks)})
    for name in ("success_rate", "episode_return"):
        evaluation.declare(name, Column(dims=(TASK,), dtype="float64", attrs=scalar_attrs(name)))


def _values(
    definition: Definition,
    table: Table,
    *,
    progress: float,
    task_count: int,
    width: int,
    generator: np.random.Generator,
) -> Values:
    shape = [table.size(dim) for dim in definition.dims]
    noise = generator.uniform(0.9, 1.1, shape)
    dormant = float(np.clip(0.04 * progress * width / 32 / task_count**0.5, 0, 0.9))
    ceiling = float(min(width, 128 * task_count))
    name = definition.variable
    values: Values
    if name.endswith("dormant_fraction"):
        values = np.clip(dormant * noise * np.linspace(0.2, 1, table.size(TAU)), 0, 1)
    elif name == "unit_activation":
        values = generator.exponential(1.0, shape) * (generator.uniform(size=shape) > dormant)
    elif name == "rank_ceiling":
        values = np.full(shape, ceiling)
    elif name.endswith("rank") or name == "participation_ratio":
        values = 0.8 * ceiling * (1 - 0.5 * progress) * noise
    elif "zero_fraction" in name:
        values = np.clip(dormant * noise, 0, 1)
    elif "norm" in name or "distance" in name:
        values = width**0.5 * (0.1 + progress) * noise
    else:
        values = 0.01 * noise
    return values
