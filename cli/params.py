"""``plastikit params``: how many numbers an agent learns, and which size of a simple network comes closest to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from plastikit.cli import options
from plastikit.errors import ConfigurationError

if TYPE_CHECKING:
    from plastikit.train.config import NetworkConfig
    from plastikit.train.networks.matching import Axis


def params(
    *,
    architecture: Annotated[
        str, typer.Option("--arch", help="multi_head, plain, soft_modules, paco or moore.")
    ] = "multi_head",
    tasks: Annotated[str, typer.Option(help="A count; or MT10, MT25, MT50; or names with commas between.")] = "MT10",
    width: Annotated[int | None, typer.Option(help="Units in each hidden layer; by default as published.")] = None,
    depth: Annotated[int | None, typer.Option(help="Hidden layers; by default as published.")] = None,
    match: Annotated[
        str | None,
        typer.Option(help="Find the width of --arch that comes closest to this architecture; at a --width, the depth."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Count what actor and critics learn, or match one architecture's size to another's count."""
    from plastikit.cli import console
    from plastikit.train.config import NetworkConfig

    task_count = _task_count(tasks)
    own = NetworkConfig.published(architecture, task_count, width=width, depth=depth)
    if match is None:
        counted = _counted(own, task_count)
        if json:
            console.print_json(counted)
        else:
            _print({"": counted})
            console.say("critic: one of the two; total: the actor and both critics.")
        return

    if width is not None and depth is not None:
        raise ConfigurationError("--match has --width and --depth beside it; leave out the one that is to be found")
    other = NetworkConfig.published(match, task_count)
    found = _matched(own, "width" if width is None else "depth", other, task_count)
    if json:
        console.print_json({"matched": _counted(other, task_count), "closest": found})
    else:
        _print({"wanted": _counted(other, task_count)} | {f"by {name}": row for name, row in found.items()})
        console.say("critic: one of the two; total: the actor and both critics. Each is matched by a size of its own.")


def _task_count(tasks: str) -> int:
    from plastikit.train.tasks import resolve_tasks

    return int(tasks) if tasks.strip().isdecimal() and int(tasks) > 0 else len(resolve_tasks(tasks))


def _counted(config: NetworkConfig, task_count: int) -> dict[str, Any]:
    from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE
    from plastikit.train.networks.matching import parameter_counts

    counts = parameter_counts(
        config, config, task_count=task_count, observation_size=OBSERVATION_SIZE, action_size=ACTION_SIZE
    )
    return {
        "architecture": config.architecture,
        "tasks": task_count,
        "width": config.width,
        "depth": config.depth,
        "actor": counts.actor,
        "critic": counts.critic,
        "total": counts.total,
    }


def _matched(own: NetworkConfig, axis: Axis, other: NetworkConfig, task_count: int) -> dict[str, dict[str, Any]]:
    from plastikit.train.environment import ACTION_SIZE, OBSERVATION_SIZE
    from plastikit.train.networks.matching import match_parameters, parameter_counts

    sizes = {"task_count": task_count, "observation_size": OBSERVATION_SIZE, "action_size": ACTION_SIZE}
    closest = match_parameters(own, axis, parameter_counts(other, other, **sizes), **sizes)
    return {name: _counted(config, task_count) for name, config in closest.items()}


def _print(rows: dict[str, dict[str, Any]]) -> None:
    from plastikit.cli import console

    titles = list(next(iter(rows.values())))
    table = console.plain_table(*([""] if any(rows) else []), *titles)
    for name, row in rows.items():
        cells = [f"{value:,}" if isinstance(value, int) else value for value in row.values()]
        table.add_row(*([name] if any(rows) else []), *cells)
    console.out.print(table)
