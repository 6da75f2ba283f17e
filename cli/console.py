"""What commands print: tables for people, JSON for programs, bars for long work."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from plastikit.analysis.summary import Column, Summary
    from plastikit.sweep.execute import Update
    from plastikit.sweep.grid import PlannedRun
    from plastikit.train import loop

out = Console(highlight=False)
notes = Console(stderr=True, highlight=False)


def say(text: str, *, style: str = "", is_note: bool = False) -> None:
    """A line as it is: a long path is not broken, brackets are no markup; a note goes to the standard error."""
    (notes if is_note else out).print(Text(text, style=style), soft_wrap=True)


def print_json(answer: Any) -> None:
    """One JSON document on the standard output; a number that is not finite is null."""
    out.print_json(json.dumps(_plain(answer), ensure_ascii=False), highlight=out.is_terminal)


def number(value: float | None, *, is_share: bool = False) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if is_share else f"{value:.4g}"


def size(count: int) -> str:
    """Bytes in the unit that fits.

    >>> size(999), size(34_200_000)
    ('999 B', '34.2 MB')
    """
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits.

    >>> ago(3), ago(7_300), ago(200_000)
    ('3 s ago', '2 h ago', '2 days ago')
    """
    left = max(0.0, seconds)
    for unit, length in (("s", 60), ("min", 60), ("h", 48)):
        if left < length:
            return f"{left:.0f} {unit} ago"
        left /= length if unit != "h" else 24
    return f"{left:.0f} days ago"


def plain_table(*titles: str) -> Table:
    """A table without rules, its columns set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), caption_justify="left")
    for title in titles:
        table.add_column(title, justify="right")
    return table


def print_table(table: Table, *, width: int) -> None:
    """A table; where the output is no terminal, ``width`` characters wide, so that nothing of it is cut off."""
    (out if out.is_terminal else Console(highlight=False, width=max(width, out.width))).print(table)


def summary_table(summary: Summary) -> Table:
    """Dormancy, rank, weight norm and success by task count and width."""
    table = plain_table("tasks", "width", "runs", *map(_title, summary.columns))
    for row in summary.rows:
        numbers = (
            number(entry.value, is_share=column.is_share)
            for column, entry in zip(summary.columns, row.entries, strict=True)
        )
        table.add_row(str(row.task_count or "–"), str(row.width or "–"), str(row.runs), *numbers)
    return table


def _title(column: Column) -> str:
    metric = column.metric.replace("_", " ")
    return f"{metric}\n{column.network}" if column.network else metric


def bars() -> Progress:
    """Progress bars with the time left; where the output is no terminal, nothing is drawn."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[detail]}"),
        console=notes,
        disable=not notes.is_terminal,
    )


class SweepBars:
    """A bar for the whole sweep and one for each run under way."""

    def __init__(self, progress: Progress, runs: list[PlannedRun]) -> None:
        self._progress = progress
        self._weight = {run.name: run.weight for run in runs}
        self._share = dict.fromkeys(self._weight, 0.0)
        self._bars: dict[str, TaskID] = {}
        self._ended = 0
        self._whole = progress.add_task("[bold]sweep", total=sum(self._weight.values()), detail="")
        self._show()

    def __call__(self, update: Update) -> None:
        """Draw what became of a run."""
        if update.state == "running":
            self._advance(update)
        else:
            self._end(update)
        done = sum(self._weight[name] * share for name, share in self._share.items())
        self._progress.update(self._whole, completed=done if self._weight else 1.0)
        self._show()

    def _advance(self, update: Update) -> None:
        bar = self._bars.get(update.name)
        if bar is None:
            bar = self._bars[update.name] = self._progress.add_task(
                _shortened(update.name), total=1.0, detail="starting"
            )
        if update.progress is None:
            return
        reached = update.progress
        self._share[update.name] = reached.env_steps / reached.total_env_steps
        self._progress.update(bar, completed=self._share[update.name], detail=told(reached))

    def _end(self, update: Update) -> None:
        if update.is_old:
            # Done before: no part of the work whose time left is shown.
            del self._weight[update.name], self._share[update.name]
            self._progress.update(self._whole, total=sum(self._weight.values()) or 1.0)
            how = f"{update.state} before, left as it is"
        else:
            self._share[update.name] = 1.0
            self._ended += 1
            how = update.state
        bar = self._bars.pop(update.name, None)
        if bar is not None:
            self._progress.remove_task(bar)
        reason = f" ({update.error})" if update.error else ""
        self._progress.console.print(Text(f"  {update.name}: {how}{reason}"), soft_wrap=True)

    def _show(self) -> None:
        self._progress.update(self._whole, detail=f"{self._ended} of {len(self._weight)} runs")


def told(reached: loop.Progress) -> str:
    """How fast a training is, and how well it does, as far as either was measured."""
    rate, success = reached.env_steps_per_second, reached.success_rate
    parts = ["gone on" if reached.is_resumed else "" if math.isnan(rate) else f"{rate:.0f}/s"]
    parts += [] if success is None or math.isnan(success) else [f"success {success:.2f}"]
    return ", ".join(filter(None, parts))


def _shortened(name: str, most: int = 26) -> str:
    """A name with its middle left out, so that bar and time left fit on a line of 80 characters."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
