"""``plastikit analyze``: what the runs of a sweep say, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from plastikit.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from plastikit.analysis.scaling import Scaling

analyze = typer.Typer(help="Ask the runs of a sweep a question.", no_args_is_help=True)


@analyze.callback()
def _analyze() -> None:
    """Ask the runs of a sweep a question."""


@analyze.command()
def scaling(
    runs: options.Runs,
    *,
    metric: Annotated[str, typer.Option(help="A variable of the runs, such as dormant_fraction or success_rate.")],
    network: Annotated[str | None, typer.Option(help="A network, or critic for both critics; all by default.")] = None,
    layer: Annotated[str | None, typer.Option(help="One layer, or a pattern.")] = None,
    parameter: Annotated[str | None, typer.Option(help="One parameter, or a pattern.")] = None,
    tau: Annotated[float | None, typer.Option(help="Dormancy threshold; 0.025 by default.")] = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Count runs that did not finish.")] = False,
    json: options.Json = False,
) -> None:
    """Show how a metric varies with width and task count: each cell's interquartile mean, and slopes per doubling."""
    from plastikit.analysis.scaling import scaling as compare
    from plastikit.cli import console
    from plastikit.record.dataset import open_runs

    result = compare(
        open_runs(runs),
        metric,
        network=network,
        layer=layer,
        parameter=parameter,
        tau=tau,
        unfinished=unfinished,
    )
    if json:
        console.print_json(result.to_dict())
        return
    console.say(result.metric, style="bold")
    console.out.print(result.definition.description, markup=False)
    averaged = f"{result.averaged}; mean over the last {result.window:.0%} of each run's records\n"
    console.out.print(averaged, markup=False)
    console.out.print(_cells(result))
    console.out.print()
    console.out.print(_slopes(result))
    for line in dict.fromkeys(slope.note for slope in result.slopes if slope.note):
        console.out.print(f"note: {line}", style="dim", markup=False)
    for line in result.notes:
        console.out.print(f"note: {line}", style="dim", markup=False)


def _cells(result: Scaling) -> Table:
    """Every cell with its runs; how the intervals were found stands under the table."""
    from plastikit.cli import console

    methods = dict.fromkeys(cell.method for cell in result.cells)
    table = console.plain_table("tasks", "width", "runs", "IQM", f"{result.level:.0%} interval", "each run")
    table.caption = "intervals: " + "; ".join(methods)
    for cell in result.cells:
        value, low, high = (
            console.number(bound, is_share=result.is_share) for bound in (cell.interquartile_mean, cell.low, cell.high)
        )
        table.add_row(
            str(cell.task_count or "–"),
            str(cell.width or "–"),
            str(cell.n),
            value,
            "–" if low == high == "–" else f"{low} to {high}",
            " ".join(console.number(each, is_share=result.is_share) for each in cell.values),
        )
    return table


def _slopes(result: Scaling) -> Table:
    """What a doubling changes, on each scale by its name."""
    from plastikit.cli import console

    table = console.plain_table("slope of", "scale", "reading")
    for column in table.columns:
        column.justify = "left"
    for slope in result.slopes:
        table.add_row(slope.predictor, slope.scale, slope.reading)
    return table
