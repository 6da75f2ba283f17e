"""``plastikit runs``: the runs of a folder, a line each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from plastikit.cli import options
from plastikit.errors import UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

    from plastikit.overview.summary import RunSummary

_STATES: Final = ("running", "finished", "failed", "interrupted", "abandoned", "unreadable")
_COLUMNS: Final = {
    "name": "run",
    "state": "state",
    "started": "started",
    "last_row": "last row",
    "step": "step",
    "records": "records",
    "size": "size",
    "tasks": "tasks",
    "width": "width",
    "seed": "seed",
    "dormant_fraction": "dormant",
    "rank": "rank",
    "weight_norm": "weight norm",
    "loss": "loss",
    "success_rate": "success",
}
_FIRST_TO_GO: Final = (
    "records",
    "started",
    "size",
    "seed",
    "loss",
    "weight_norm",
    "step",
    "tasks",
    "width",
    "last_row",
)
"""Columns that a narrow terminal does without, in this order."""
_LONGEST_ERROR: Final = 150
_SHARES: Final = {"dormant_fraction", "success_rate"}


def runs(
    directory: Annotated[str, typer.Argument(help="A folder that holds runs, in folders of its own or not.")],
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"Only runs in this state: {', '.join(_STATES)}; may be given several times."),
    ] = None,
    sort: Annotated[str, typer.Option(help=f"By what: {', '.join(_COLUMNS)}.")] = "name",
    descending: Annotated[bool, typer.Option("--descending", help="The largest, or the latest, first.")] = False,
    json: options.Json = False,
) -> None:
    """List the runs of a folder: state, age, length, size, and the last values of what tells most.

    dormant is the share of dormant units at a threshold of 0.025, rank the srank (or effective rank), both averaged
    over networks and layers; weight norm is averaged over networks, success over tasks. A run is abandoned that never
    said how it ended and whose process is gone; what it had committed can be read. A run that cannot be read is listed
    with the reason.
    """
    for name in state or ():
        if name not in _STATES:
            raise UnknownNameError.of("state", name, _STATES)
    if sort not in _COLUMNS:
        raise UnknownNameError.of("column", sort, _COLUMNS)

    from plastikit.cli import console
    from plastikit.overview.summary import summaries

    with console.notes.status("reading the runs"):
        found = summaries(directory)
    shown = [run for run in found if not state or run.state in state]
    shown = _sorted(shown, sort, descending=descending)
    if json:
        console.print_json({"directory": directory, "runs": [run.to_dict() for run in shown]})
        return
    _print(shown, total=len(found))


def _sorted(found: list[RunSummary], by: str, *, descending: bool) -> list[RunSummary]:
    """In the order of a column; runs that have no value there come last."""
    known = [run for run in found if _value(run, by) is not None]
    known.sort(key=lambda run: _value(run, by), reverse=descending)
    return known + [run for run in found if _value(run, by) is None]


def _value(run: RunSummary, column: str) -> Any:
    """What a column says of a run; None where nothing."""
    if column in run.values:
        last = run.values[column].value
        return last if math.isfinite(last) else None
    if column in {"name", "state", "started", "last_row", "step"}:
        return getattr(run, column)
    if column == "size":
        return run.size
    if column == "records":
        return run.records or None
    value = run.configured.get("task_count" if column == "tasks" else column)
    return value if isinstance(value, int | float) else None


def _print(shown: list[RunSummary], *, total: int) -> None:
    from plastikit.cli import console

    filled = [column for column in _COLUMNS if any(_value(run, column) is not None for run in shown)]
    cells = {column: [_cell(run, column) for run in shown] for column in filled}
    widths = {column: max(map(len, (_COLUMNS[column], *texts))) + 2 for column, texts in cells.items()}
    columns = list(filled)
    if console.out.is_terminal:
        for column in _FIRST_TO_GO:
            if sum(widths[kept] for kept in columns) <= console.out.width:
                break
            columns = [kept for kept in columns if kept != column]
    if shown:
        table = _table({column: cells[column] for column in columns})
        console.print_table(table, width=sum(widths[column] for column in columns))
    for run in shown:
        if run.error:
            console.say(f"{run.name}: {_briefly(run.error)}", style="red")
    count = f"{total} run{'' if total == 1 else 's'}"
    console.say(count if len(shown) == total else f"{len(shown)} of {count}", style="dim")
    if hidden := [_COLUMNS[column] for column in filled if column not in columns]:
        console.say(f"no room for: {', '.join(hidden)}; they are in --json", style="dim", is_note=True)


def _briefly(error: str) -> str:
    """What was found, without the advice that follows; on one line."""
    text = " ".join(error.partition("; ")[0].split())
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def _table(cells: dict[str, list[str]]) -> Table:
    from plastikit.cli import console

    table = console.plain_table(*(_COLUMNS[column] for column in cells))
    for position, column in enumerate(table.columns):
        # A long name is folded; numbers are whole.
        column.overflow, column.no_wrap = "fold", position > 0
        column.justify = "left" if position < 2 else "right"
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    return table


def _cell(run: RunSummary, column: str) -> str:
    from plastikit.cli import console

    value = _value(run, column)
    if value is None:
        return "–"
    if column in {"started", "last_row"}:
        return console.ago(time.time() - value)
    if column == "size":
        return console.size(value)
    if column in run.values:
        return console.number(value, is_share=column in _SHARES)
    return f"{value:,}" if column in {"step", "records"} else str(value)
