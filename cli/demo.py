"""``plastikit demo``: a small sweep on real Meta-World and its report, within minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

NOTICE: Final = "Runs this short show the instrument, not the science."

_TASKS: Final = ("reach-v3", "reach-v3+drawer-close-v3+window-open-v3")
_WIDTHS: Final = (32, 128)
_STEPS: Final = 10_000
_SHORT_STEPS: Final = 600


def demo(
    *,
    directory: Annotated[Path, typer.Option("--out", help="Folder of the runs and the report.")] = Path("runs/demo"),
    short: Annotated[bool, typer.Option("--short", help="A few steps only: whether everything works.")] = False,
) -> None:
    """Train four small agents on Meta-World, task counts 1 and 3, widths 32 and 128, and report what the probes saw.

    Takes about three minutes on two cores. Interrupted and started again, it goes on from the runs that are finished.
    """
    from plastikit.cli import console, options

    steps = _SHORT_STEPS if short else _STEPS
    common = options.training_config(
        tasks=_TASKS[0],
        task_seed=0,
        steps=steps,
        actor=(_WIDTHS[0], 3),
        critic=(_WIDTHS[0], 3),
        architecture="multi_head",
        warm_up=steps // 10,
        batch_size=128,
        evaluate_every=steps // 4,
        episodes=2 if short else 10,
    )

    from plastikit.record.dataset import open_runs
    from plastikit.sweep.execute import execute
    from plastikit.sweep.grid import plan
    from plastikit.sweep.shapes import of_widths
    from plastikit.watch.schedule import every

    runs = plan(common, tasks=_TASKS, shapes=of_widths("multi_head", _WIDTHS), seeds=[0])
    console.say(f"{len(runs)} runs of multi-task SAC on Meta-World into {directory}", style="bold")
    with console.bars() as progress:
        outcome = execute(
            runs, directory, schedule=every(20 if short else 100), on_update=console.SweepBars(progress, runs)
        )
    if not outcome.finished:
        for name, error in outcome.failed.items():
            console.say(f"failed: {name}: {error}", style="red", is_note=True)
        raise typer.Exit(1)

    from plastikit.analysis.summary import summary
    from plastikit.report import write_report

    joined = open_runs([directory / f"{run.name}.zarr" for run in runs])
    report = write_report(joined, directory / "report.html", notice=NOTICE)
    console.out.print()
    console.out.print(console.summary_table(summary(joined)))
    console.say(
        f"\n{NOTICE}\n\n"
        f"look at it      open {report} in a browser\n"
        f"slopes          plastikit analyze scaling {directory} --metric dormant_fraction\n"
        f"in Python       plastikit.open_runs('{directory}')\n"
        "your own model  plastikit.attach(model, optimizer=optimizer, store='run.zarr')\n"
        "the study       plastikit sweep --tasks 1,3,10 --width 64,256 --seeds 3 --out runs/study"
    )
    if outcome.failed:
        for name, error in outcome.failed.items():
            console.say(f"failed: {name}: {error}", style="red", is_note=True)
        raise typer.Exit(1)
