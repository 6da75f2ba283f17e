"""``plastikit report``: one HTML file that shows a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plastikit.cli import options


def report(
    runs: options.Runs,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("report.html"),
) -> None:
    """Write one HTML file, which works offline, with the figures of all runs."""
    from plastikit.cli import console
    from plastikit.record.dataset import open_runs
    from plastikit.report import write_report

    with console.notes.status("reading the runs"):
        joined = open_runs(runs)
    count = joined.sizes["run"]
    runs_shown = f"{count} run" if count == 1 else f"{count} runs"
    with console.notes.status(f"drawing {runs_shown}"):
        written = write_report(joined, output)
    console.say(f"{written} shows {runs_shown}; open it in a browser")
