"""The figures of a report: each metric against width and layer by layer, and the course of evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import xarray as xr

from plastikit.analysis.aggregate import FEW_RUNS
from plastikit.analysis.catalogue import Metric, networks, run_names
from plastikit.analysis.cells import run_coordinates
from plastikit.analysis.courses import course
from plastikit.analysis.curves import task_curves
from plastikit.analysis.layers import MOST_STEPS, has_history, layer_history
from plastikit.analysis.scaling import Scaling, scaling
from plastikit.analysis.slopes import Slope
from plastikit.figures.courses import course_figure
from plastikit.figures.layers import layer_figure
from plastikit.figures.report import Choice, Panel, Reading
from plastikit.figures.scaling import scaling_figure
from plastikit.figures.tasks import run_curves_figure, task_curves_figure
from plastikit.schema import EVALUATION, FINISHED, LAYER, RUN

_ALL_NETWORKS: Final = "all networks"
_MOST_VALUES: Final = 300_000
"""Heatmap values in one page: with more, each heatmap gets fewer columns."""
_FEWEST_STEPS: Final = 30
_PREDICTORS: Final = {
    "width": "Doubling the width",
    "tasks": "Doubling the task count",
    "interaction": "Doubling one, on the effect of doubling the other",
}


def ordered_runs(runs: xr.DataTree) -> tuple[str, ...]:
    """Names of the runs in the order of task count, width and seed."""
    return tuple(name for _, name in sorted(_places(runs)))


def has_grid(runs: xr.DataTree) -> bool:
    """Whether the runs stand at more than one place of width and task count, so that they can be compared by it."""
    places = {tuple(place[:2]) for place, _ in _places(runs)}
    return len(places) > 1 and all(min(place) >= 0 for place in places)


def widest_run(runs: xr.DataTree) -> str:
    """The run with the widest network, of these the one with the fewest tasks."""
    return min(_places(runs), key=lambda place: (-place[0][1], place[0]))[1]


def _places(runs: xr.DataTree) -> list[tuple[tuple[int, ...], str]]:
    found = [run_coordinates(runs, position) for position in range(runs.sizes[RUN])]
    keys = ("task_count", "width", "seed")
    return [(tuple(-1 if run[key] is None else run[key] for key in keys), run["run"]) for run in found]


def choices(runs: xr.DataTree, found: Sequence[Metric]) -> tuple[Choice, ...]:
    """An entry of the metric selector for each metric, and for each threshold of those that have several."""
    steps = _most_steps(runs, found)
    return tuple(_choice(runs, metric, tau, steps) for metric in found for tau in (metric.taus or (None,)))


def curves(runs: xr.DataTree, metric: Metric | None) -> dict[str, Panel]:
    """The course of evaluation: all runs together, then each run task by task; empty without evaluation."""
    if metric is None:
        return {}
    found = [curve for curve in task_curves(runs, metric.name) if curve.sizes["step"]]
    if not found:
        return {}
    caption = f"{_lines(runs)} It is averaged over the tasks."
    panels = {"all runs, mean over tasks": Panel(figure=run_curves_figure(found), caption=caption)}
    for curve in found:
        tasks = curve.sizes["task"]
        caption = f"{curve.attrs['run']}: {'one task' if tasks == 1 else f'{tasks} tasks and their mean'}."
        panels[str(curve.attrs["run"])] = Panel(figure=task_curves_figure(curve), caption=caption)
    return panels


def _choice(runs: xr.DataTree, metric: Metric, tau: float | None, steps: int) -> Choice:
    name = metric.definition.long_name or metric.name
    families = list(networks(runs)) if metric.group != EVALUATION else []
    options: list[str | None] = [*families, None] if len(families) > 1 else [None]
    return Choice(
        key=metric.name if tau is None else f"{metric.name}@{tau:g}",
        label=name if tau is None else f"{name}, τ = {tau:g}",
        group="Evaluation" if metric.group == EVALUATION else "Diagnostics",
        terms=tuple(definition.variable for definition in metric.definitions),
        scaling={option or _ALL_NETWORKS: _scaling_panel(runs, metric, option, tau) for option in options},
        histories=_history_panels(runs, metric, tau, steps) if has_history(metric) else {},
    )


def _scaling_panel(runs: xr.DataTree, metric: Metric, network: str | None, tau: float | None) -> Panel:
    result = scaling(runs, metric.name, network=network, tau=tau)
    if not any(math.isfinite(run.value) for run in result.runs):
        return Panel(sentence="No run has a finite value of this metric.")
    if not has_grid(runs):
        found = course(runs, metric.name, network=network, tau=tau)
        return Panel(figure=course_figure(found), caption=f"{_lines(runs)} Shown: {result.averaged or metric.name}.")
    figure = scaling_figure(result.to_dataset())
    return Panel(
        figure=figure,
        caption=_caption(result),
        readings=_readings(result.slopes),
        remarks=tuple(dict.fromkeys(slope.note for slope in result.slopes if slope.note)),
    )


def _lines(runs: xr.DataTree) -> str:
    is_whole = all(str(state) == FINISHED for state in runs.coords["state"].values)
    return "Each line is a run." if is_whole else "Each line is a run, dashed and hollow where it did not finish."


def _caption(result: Scaling) -> str:
    parts = [
        f"Small marks are runs, large ones the interquartile mean of a cell with its {result.level:.0%} interval.",
        f"Shown: {', '.join(filter(None, (result.averaged, f'last {result.window:.0%} of records')))}.",
    ]
    if any(cell.n <= 2 for cell in result.cells):
        parts.append("A cell of one or two runs has no interval.")
    if any(2 < cell.n <= FEW_RUNS for cell in result.cells):
        parts.append(f"From 3 to {FEW_RUNS} runs the interval is narrower than it should be.")
    left_out = sum(bool(run.left_out) for run in result.runs)
    if left_out:
        parts.append(
            f"{left_out} {'run is' if left_out == 1 else 'runs are'} left out and drawn hollow, where measured."
        )
    return " ".join(parts)


def _readings(slopes: Sequence[Slope]) -> tuple[Reading, ...]:
    readings = []
    for predictor, title in _PREDICTORS.items():
        lines = [
            (slope.amount, ", ".join(filter(None, (slope.bounds, f"{slope.scale} scale"))))
            for slope in slopes
            if slope.predictor == predictor and not math.isnan(slope.estimate)
        ]
        readings.append(Reading(title=title, lines=tuple(lines) or (("not estimated", ""),)))
    return tuple(readings) if any(not math.isnan(slope.estimate) for slope in slopes) else ()


def _most_steps(runs: xr.DataTree, found: Sequence[Metric]) -> int:
    rows = 0
    for metric in filter(has_history, found):
        rows += runs.sizes[RUN] * runs[metric.group].sizes[metric.axis or LAYER] * max(1, len(metric.taus))
    return max(_FEWEST_STEPS, min(MOST_STEPS, _MOST_VALUES // max(1, rows)))


def _history_panels(runs: xr.DataTree, metric: Metric, tau: float | None, steps: int) -> Mapping[str, Panel]:
    histories = layer_history(runs, metric.name, tau=tau, most_steps=steps)
    ends = [float(end) for history in histories if history.size for end in (history.min(), history.max())]
    limits = (min(0.0, *ends) if metric.is_fraction else min(ends), max(ends)) if ends else None
    panels = {}
    for name, history in zip(run_names(runs), histories, strict=True):
        if not history.size:
            panels[name] = Panel(sentence="This run has no finite value of this metric.")
            continue
        caption = f"{name}: {history.sizes['step']} records. The colours mean the same in all runs."
        panels[name] = Panel(figure=layer_figure(history, limits=limits), caption=caption)
    return panels
