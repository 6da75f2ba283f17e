"""``plastikit sweep``: a grid of runs over task counts, widths and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plastikit.cli import options
from plastikit.errors import ConfigurationError


def sweep(
    *,
    tasks: Annotated[
        str, typer.Option(help="Task counts with commas between; or benchmarks, or names joined by + into one entry.")
    ] = "1,3,10",
    width: Annotated[str, typer.Option(help="Units in each hidden layer, with commas between.")] = "64,256",
    seeds: Annotated[int, typer.Option(help="Seeds of each combination: 3 means 0, 1 and 2.")] = 1,
    directory: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("runs/sweep"),
    jobs: Annotated[int | None, typer.Option(help="Runs at the same time; by default one per core.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Begin failed runs anew.")] = False,
    task_seed: options.TaskSeed = 0,
    depth: options.Depth = 3,
    architecture: options.Architecture = "multi_head",
    steps: options.Steps = 2_000_000,
    warm_up: options.WarmUp = 4_000,
    batch_size: options.BatchSize = 128,
    evaluate_every: options.EvaluateEvery = 20_000,
    episodes: options.Episodes = 50,
    record_every: options.RecordEvery = 100,
    json: options.Json = False,
) -> None:
    """Train every combination of task count, width and seed; started again, go on from what is finished."""
    if seeds < 1:
        raise ConfigurationError(f"--seeds is {seeds}; give the number of seeds, at least 1")
    if jobs is not None and jobs < 1:
        raise ConfigurationError(f"--jobs is {jobs}; give the number of runs at the same time, at least 1")
    widths = [_whole(entry) for entry in width.split(",")]
    selections = [entry.strip() for entry in tasks.split(",") if entry.strip()]
    common = options.training_config(
        tasks=selections[0].replace("+", ",") if selections else "",
        task_seed=task_seed,
        steps=steps,
        actor=(widths[0], depth),
        critic=(widths[0], depth),
        architecture=architecture,
        warm_up=warm_up,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        episodes=episodes,
    )

    from plastikit.cli import console
    from plastikit.sweep.execute import execute
    from plastikit.sweep.grid import plan

    runs = plan(common, tasks=selections, widths=widths, seeds=list(range(seeds)))
    with console.bars() as progress:
        outcome = execute(
            runs,
            directory,
            jobs=jobs,
            probe_interval=record_every,
            retries_failed=retry_failed,
            on_update=console.SweepBars(progress, runs),
        )
    if json:
        console.print_json({"directory": str(directory), "finished": outcome.finished, "failed": outcome.failed})
    else:
        console.say(f"{len(outcome.finished)} of {len(runs)} runs finished in {directory}")
        for name, error in outcome.failed.items():
            console.say(f"failed: {name}: {error}", style="red")
        if outcome.finished:
            console.say(f"next: plastikit report {directory} -o report.html")
    if outcome.failed:
        raise typer.Exit(1)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"--width has {text!r}; give whole numbers with commas between: 64,256") from None
