"""``plastikit train``: one run of multi-task SAC, watched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastikit.cli import options
from plastikit.errors import ConfigurationError

if TYPE_CHECKING:
    from plastikit.train.config import TrainingConfig
    from plastikit.watch.schedule import Every

_WITH_RESUME = frozenset({"resume", "json"})


def train(
    context: typer.Context,
    *,
    tasks: Annotated[
        str,
        typer.Option(
            help="MT10, MT25, MT50; a count, drawn with --task-seed; names with commas between; reach-v3/4: one task "
            "in four parts; pendulum/4: four light ones; or environments of gymnasium."
        ),
    ] = "MT10",
    task_seed: options.TaskSeed = 0,
    seed: Annotated[int, typer.Option(help="Seed of weights, goals, exploration and batches.")] = 0,
    width: Annotated[
        int | None, typer.Option(help="Units in each hidden layer of actor and critics; by default as published.")
    ] = None,
    depth: options.Depth = None,
    actor_width: Annotated[int | None, typer.Option(help="Width of the actor, where it differs.")] = None,
    actor_depth: Annotated[int | None, typer.Option(help="Depth of the actor, where it differs.")] = None,
    critic_width: Annotated[int | None, typer.Option(help="Width of the critics, where it differs.")] = None,
    critic_depth: Annotated[int | None, typer.Option(help="Depth of the critics, where it differs.")] = None,
    architecture: options.Architecture = "multi_head",
    steps: options.Steps = 2_000_000,
    warm_up: options.WarmUp = 4_000,
    batch_size: options.BatchSize = 128,
    evaluate_every: options.EvaluateEvery = 20_000,
    episodes: options.Episodes = 50,
    record_every: options.RecordEvery = 100,
    probe_tasks: options.ProbeTasks = None,
    probe_states: options.ProbeStates = 1_000,
    checkpoint_every: options.CheckpointEvery = 300.0,
    checkpoints: options.Checkpoints = True,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    is_compiled: options.Compile = False,
    threads: Annotated[int | None, typer.Option(help="Threads that torch computes with.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that step the environments; one per core unless given.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--out", help="The new run, path or URL; by default runs/TASKS_width-W_seed-S.zarr.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help="A run that was cut off: go on from its last checkpoint, with its settings.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Train multi-task SAC on Meta-World, or other tasks, and record its diagnostics.

    A run that was cut off goes on with --resume RUN, and ends with the same numbers as one that was not.
    """
    if resume is not None:
        _refuse_settings(context)
        config, schedule = _recorded(resume)
        place = resume
    else:
        config = options.training_config(
            tasks=tasks,
            task_seed=task_seed,
            seed=seed,
            steps=steps,
            actor=(_or(actor_width, width), _or(actor_depth, depth)),
            critic=(_or(critic_width, width), _or(critic_depth, depth)),
            architecture=architecture,
            warm_up=warm_up,
            batch_size=batch_size,
            evaluate_every=evaluate_every,
            episodes=episodes,
            probe_tasks=probe_tasks,
            probe_states=probe_states,
            checkpoint_every=checkpoint_every,
            device=device,
            precision=precision,
            is_compiled=is_compiled,
            threads=threads,
            workers=workers,
        )
        from plastikit.train.watching import usual

        name = f"{tasks.replace(',', '+').replace('/', '-in-')}_width-{config.critic.width}_seed-{seed}"
        place = store or f"runs/{name}.zarr"
        schedule = usual(record_every)

    from plastikit.cli import console
    from plastikit.train import loop

    with console.bars() as progress:
        bar = progress.add_task(Path(place).stem, total=config.env_steps, detail="starting")

        def show(reached: loop.Progress) -> None:
            progress.update(bar, completed=reached.env_steps, detail=console.told(reached))

        try:
            summary = loop.train(
                config,
                store=place,
                schedule=schedule,
                checkpoints=_beside(place) if checkpoints else None,
                resume=resume is not None,
                on_progress=show,
            )
        except KeyboardInterrupt:
            if checkpoints:
                console.say(f"to go on: plastikit train --resume {place}", is_note=True)
            raise

    if json:
        console.print_json(
            {
                "store": str(place),
                "env_steps": summary.env_steps,
                "updates": summary.updates,
                "seconds": summary.seconds,
                "success_rate": summary.evaluations[-1].success_rate,
                "episode_return": summary.evaluations[-1].episode_return,
            }
        )
        return
    last = summary.evaluations[-1]
    for task, rate in last.success_rate.items():
        console.say(f"{task:32} success {_rate(rate):12} return {last.episode_return[task]:,.1f}")
    console.say(
        f"\n{summary.env_steps:,} environment steps, {summary.updates:,} updates in {summary.seconds:.0f} s; "
        f"the record is {place}\nnext: plastikit report {place} -o report.html"
    )


def _rate(success: float) -> str:
    return "not measured" if math.isnan(success) else f"{success:.2f}"


def _refuse_settings(context: typer.Context) -> None:
    """A run that goes on has its settings already."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _WITH_RESUME and _is_said(context, parameter.name or "")
    ]
    if given:
        raise ConfigurationError(
            f"--resume takes every setting from the run, and {', '.join(given)} says one; leave it out, or train anew "
            "without --resume"
        )


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _recorded(run: str) -> tuple[TrainingConfig, Every]:
    from plastikit.record.dataset import read_attributes
    from plastikit.train.recorded import recorded_config, recorded_schedule

    configuration = read_attributes(run)["configuration"]
    return recorded_config(configuration), recorded_schedule(configuration)


def _beside(run: str) -> Path:
    """The folder of a run's checkpoints; of a run behind a URL it lies with the local runs."""
    from plastikit.train.checkpoint import checkpoints_of

    return checkpoints_of(Path("runs", run.rstrip("/").rpartition("/")[2]) if "://" in run else run)


def _or(own: int | None, common: int | None) -> int | None:
    return common if own is None else own
