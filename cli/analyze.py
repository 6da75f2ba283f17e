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
    network: Annotated[str | None, typer.Option(help="One network, or critic for both critics; all by default.")] = None,
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
    console.out.print(f"[bold]{result.metric}[/bold]: {result.definition.description}")
    console.out.print(f"{result.averaged}; mean over the last {result.window:.0%} of each run's records\n")
    console.out.print(_cells(result))
    console.out.print()
    for slope in result.slopes:
        console.out.print(f"{slope.predictor:12} {slope.scale:11} {slope.reading}")
        if slope.note:
            console.out.print(f"{'':24} {slope.note}", style="dim")
    for note in result.notes:
        console.out.print(f"note: {note}", style="dim")


def _cells(result: Scaling) -> Table:
    from rich.table import Table

    from plastikit.cli import console

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("tasks", "width", "runs", "IQM", f"{result.level:.0%} interval", "method", "each run"):
        table.add_column(title, justify="left" if title in {"method", "each run"} else "right")
    for cell in result.cells:
        low, high = (console.number(bound, is_share=result.is_share) for bound in (cell.low, cell.high))
        table.add_row(
            str(cell.task_count or "–"),
            str(cell.width or "–"),
            str(cell.n),
            console.number(cell.interquartile_mean, is_share=result.is_share),
            "–" if low == high == "–" else f"{low} to {high}",
            cell.method,
            " ".join(console.number(value, is_share=result.is_share) for value in cell.values),
        )
    return table
