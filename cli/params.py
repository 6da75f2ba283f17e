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

    sizes = _sizes(tasks)
    task_count = sizes["task_count"]
    own = NetworkConfig.published(architecture, task_count, width=width, depth=depth)
    if match is None:
        counted = _counted(own, sizes)
        if json:
            console.print_json(counted)
        else:
            _print({"": counted})
            console.say("critic: one of the two; total: the actor and both critics.")
        return

    if width is not None and depth is not None:
        raise ConfigurationError("--match has --width and --depth beside it; leave out the one that is to be found")
    other = NetworkConfig.published(match, task_count)
    found = _matched(own, "width" if width is None else "depth", other, sizes)
    if json:
        console.print_json({"matched": _counted(other, sizes), "closest": found})
    else:
        _print({"wanted": _counted(other, sizes)} | {f"by {name}": row for name, row in found.items()})
        console.say("critic: one of the two; total: the actor and both critics. Each is matched by a size of its own.")


def _sizes(tasks: str) -> dict[str, int]:
    """Give what the counts depend on; a count of tasks may be any, and means Meta-World's."""
    from plastikit.train.suites import sizes
    from plastikit.train.tasks import MT50, resolve_tasks

    is_count = tasks.strip().isdecimal() and int(tasks) > 0
    names: tuple[str, ...] = MT50 if is_count else resolve_tasks(tasks)
    observation, action = sizes(names)
    return {
        "task_count": int(tasks) if is_count else len(names),
        "observation_size": observation,
        "action_size": action,
    }


def _counted(config: NetworkConfig, sizes: dict[str, int]) -> dict[str, Any]:
    from plastikit.train.networks.matching import parameter_counts

    counts = parameter_counts(config, config, **sizes)
    return {
        "architecture": config.architecture,
        "tasks": sizes["task_count"],
        "width": config.width,
        "depth": config.depth,
        "actor": counts.actor,
        "critic": counts.critic,
        "total": counts.total,
    }


def _matched(own: NetworkConfig, axis: Axis, other: NetworkConfig, sizes: dict[str, int]) -> dict[str, dict[str, Any]]:
    from plastikit.train.networks.matching import match_parameters, parameter_counts

    closest = match_parameters(own, axis, parameter_counts(other, other, **sizes), **sizes)
    return {name: _counted(config, sizes) for name, config in closest.items()}


def _print(rows: dict[str, dict[str, Any]]) -> None:
    from plastikit.cli import console

    titles = list(next(iter(rows.values())))
    table = console.plain_table(*([""] if any(rows) else []), *titles)
    for name, row in rows.items():
        cells = [f"{value:,}" if isinstance(value, int) else value for value in row.values()]
        table.add_row(*([name] if any(rows) else []), *cells)
    console.out.print(table)
