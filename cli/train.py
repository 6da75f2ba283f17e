"""``plastikit train``: one run of multi-task SAC on Meta-World, watched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plastikit.cli import options


def train(
    *,
    tasks: Annotated[
        str, typer.Option(help="MT10, MT25, MT50; a count, drawn with --task-seed; or names with commas between.")
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
    threads: Annotated[int | None, typer.Option(help="Threads that torch computes with.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that step the environments; one per core unless given.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--out", help="The new run, path or URL; by default runs/TASKS_width-W_seed-S.zarr.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Train multi-task SAC on Meta-World and record its diagnostics."""
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
        threads=threads,
        workers=workers,
    )
    place = store or f"runs/{tasks.replace(',', '+')}_width-{config.critic.width}_seed-{seed}.zarr"

    from plastikit.cli import console
    from plastikit.train import loop
    from plastikit.watch.schedule import every

    with console.bars() as progress:
        bar = progress.add_task(Path(place).stem, total=config.env_steps, detail="starting")

        def show(reached: loop.Progress) -> None:
            success = "" if reached.success_rate is None else f", success {reached.success_rate:.2f}"
            detail = f"{reached.env_steps_per_second:.0f} steps/s{success}"
            progress.update(bar, completed=reached.env_steps, detail=detail)

        summary = loop.train(config, store=place, schedule=every(record_every), on_progress=show)

    if json:
        console.print_json(
            {
                "store": str(place),
                "env_steps": summary.env_steps,
                "updates": summary.updates,
                "seconds": summary.seconds,
                "success_rate": summary.evaluations[-1].success_rate,
            }
        )
        return
    for task, rate in summary.evaluations[-1].success_rate.items():
        console.say(f"{task:32} success {rate:.2f}")
    console.say(
        f"\n{summary.env_steps:,} environment steps, {summary.updates:,} updates in {summary.seconds:.0f} s; "
        f"the record is {place}\nnext: plastikit report {place} -o report.html"
    )


def _or(own: int | None, common: int | None) -> int | None:
    return common if own is None else own
