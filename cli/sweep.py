"""``plastikit sweep``: a grid of runs over task counts, networks and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plastikit.cli import options
from plastikit.errors import ConfigurationError

if TYPE_CHECKING:
    from plastikit.sweep.shapes import Shapes

_WIDTHS = "64,256"


def sweep(
    *,
    tasks: Annotated[
        str, typer.Option(help="Task counts with commas between; or benchmarks, or names joined by + into one entry.")
    ] = "1,3,10",
    width: Annotated[
        str | None, typer.Option(help=f"Units in each hidden layer, with commas between; by default {_WIDTHS}.")
    ] = None,
    actor_width: Annotated[
        str | None, typer.Option(help="Widths of the actor, each of which meets every width of the critics.")
    ] = None,
    critic_width: Annotated[str | None, typer.Option(help="Widths of the critics, with commas between.")] = None,
    match: Annotated[
        str | None,
        typer.Option(help="Architectures, with commas between, each beside an --architecture of as many parameters."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each combination: 3 means 0, 1 and 2.")] = 1,
    directory: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("runs/sweep"),
    jobs: Annotated[
        int | None, typer.Option(help="Runs at the same time; by default one per core, two on a GPU.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Begin failed runs anew.")] = False,
    task_seed: options.TaskSeed = 0,
    depth: options.Depth = None,
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
    json: options.Json = False,
) -> None:
    """Train every combination of task count, networks and seed; started again, go on from what is finished."""
    if seeds < 1:
        raise ConfigurationError(f"--seeds is {seeds}; give the number of seeds, at least 1")
    if jobs is not None and jobs < 1:
        raise ConfigurationError(f"--jobs is {jobs}; give the number of runs at the same time, at least 1")
    widths = {"--width": width, "--actor-width": actor_width, "--critic-width": critic_width}
    given = {option: _whole_numbers(option, text) for option, text in widths.items() if text is not None}
    if match is not None and given:
        raise ConfigurationError(f"--match finds the widths, and {', '.join(given)} says them; leave one of them out")
    selections = [entry.strip() for entry in tasks.split(",") if entry.strip()]
    common = options.training_config(
        tasks=selections[0].replace("+", ",") if selections else "",
        task_seed=task_seed,
        steps=steps,
        actor=(None, depth),
        critic=(None, depth),
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
    )

    from plastikit.cli import console
    from plastikit.sweep.execute import execute
    from plastikit.sweep.grid import plan
    from plastikit.train.watching import usual

    shapes = _shapes(architecture, given, match, depth)
    runs = plan(common, tasks=selections, shapes=shapes, seeds=list(range(seeds)))
    with console.bars() as progress:
        outcome = execute(
            runs,
            directory,
            jobs=jobs,
            schedule=usual(record_every),
            keeps_checkpoints=checkpoints,
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


def _shapes(architecture: str, widths: dict[str, list[int]], match: str | None, depth: int | None) -> Shapes:
    from plastikit.sweep.shapes import actor_against_critic, of_widths, parameter_matched
    from plastikit.train.published import published_sizes

    if match is not None:
        names = [name.strip() for name in match.split(",") if name.strip()]
        return parameter_matched(architecture, names, depth=depth)
    if widths.keys() <= {"--width"}:
        return of_widths(architecture, widths.get("--width", _whole_numbers("--width", _WIDTHS)), depth=depth)
    common = widths.get("--width", [published_sizes(architecture, 1).width])
    return actor_against_critic(
        architecture, widths.get("--actor-width", common), widths.get("--critic-width", common), depth=depth
    )


def _whole_numbers(option: str, text: str) -> list[int]:
    found = []
    for entry in text.split(","):
        try:
            found.append(int(entry))
        except ValueError:
            raise ConfigurationError(
                f"{option} has {entry!r}; give whole numbers with commas between: {_WIDTHS}"
            ) from None
    return found
