"""Options that several commands share, and the training settings that they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from plastikit.train.config import TrainingConfig

Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for another program to read.")]
Architecture = Annotated[
    str, typer.Option(help="multi_head (a head per task), plain (one head), soft_modules, paco or moore.")
]
TaskSeed = Annotated[int, typer.Option(help="Which draw of tasks a count means; draws of one seed are nested.")]
Steps = Annotated[int, typer.Option(help="Environment steps in each task.")]
Depth = Annotated[int | None, typer.Option(help="Hidden layers of actor and critics; by default as published.")]
WarmUp = Annotated[int, typer.Option(help="Steps of random actions before the first update.")]
BatchSize = Annotated[int, typer.Option(help="Transitions of each task in an update's batch.")]
EvaluateEvery = Annotated[int, typer.Option(help="Environment steps of each task between two evaluations.")]
Episodes = Annotated[int, typer.Option(help="Episodes of each task in an evaluation.")]
RecordEvery = Annotated[
    int, typer.Option(help="Updates between two records of the probes; costly ones, such as ranks, join each tenth.")
]
ProbeTasks = Annotated[
    str | None, typer.Option(help="Tasks of the fixed states that networks are scored on, named as in --tasks.")
]
ProbeStates = Annotated[int, typer.Option(help="How many such states, in equal shares of their tasks.")]
CheckpointEvery = Annotated[
    float, typer.Option(help="Seconds between two checkpoints, from which a run that was cut off goes on.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1; auto takes a GPU where there is one.")]
Precision = Annotated[str, typer.Option(help="Of matrix products: float32; on a GPU also tf32 or bfloat16.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the updates; worth it on a GPU.")]
Checkpoints = Annotated[bool, typer.Option(help="Whether checkpoints are written, beside each run.")]
Run = Annotated[str, typer.Argument(help="A run: a folder that ends in .zarr, or its URL.", show_default=False)]
Runs = Annotated[str, typer.Argument(help="A folder of runs, or one run (it ends in .zarr); a path or a URL.")]


def training_config(
    *,
    tasks: str,
    task_seed: int,
    seed: int = 0,
    steps: int,
    actor: tuple[int | None, int | None],
    critic: tuple[int | None, int | None],
    architecture: str,
    warm_up: int,
    batch_size: int,
    evaluate_every: int,
    episodes: int,
    probe_tasks: str | None = None,
    probe_states: int = 1_000,
    checkpoint_every: float = 300.0,
    **machine: Any,
) -> TrainingConfig:
    """Settings of a run from what the command line says; ``actor`` and ``critic`` are (width, depth).

    What it does not say is as published for the architecture. ``machine`` goes on as it is: threads, device, ...
    """
    from plastikit.train.config import (
        CheckpointConfig,
        EvaluationConfig,
        NetworkConfig,
        ProbeSetConfig,
        SacConfig,
        TrainingConfig,
    )
    from plastikit.train.published import published_constants
    from plastikit.train.tasks import resolve_tasks

    task_count = len(resolve_tasks(tasks, task_seed))
    return TrainingConfig(
        tasks=tasks,
        task_seed=task_seed,
        seed=seed,
        env_steps_per_task=steps,
        actor=NetworkConfig.published(architecture, task_count, width=actor[0], depth=actor[1]),
        critic=NetworkConfig.published(architecture, task_count, width=critic[0], depth=critic[1]),
        sac=SacConfig(
            warm_up_vector_steps=warm_up, batch_size_per_task=batch_size, **published_constants(architecture)
        ),
        evaluation=EvaluationConfig(interval_env_steps_per_task=evaluate_every, episodes_per_task=episodes),
        probe_set=ProbeSetConfig(tasks=probe_tasks, samples=probe_states),
        checkpoints=CheckpointConfig(interval_seconds=checkpoint_every),
        **machine,
    )
