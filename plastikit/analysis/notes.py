"""What a reader has to know of the runs behind a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import xarray as xr

from plastikit.analysis.cells import RunValue, in_words
from plastikit.analysis.selection import Selection
from plastikit.schema import FINISHED, LAYER, PROBE_BATCH, TRAINING_BATCH

NONE_FINISHED: Final = "No run with a value has finished: count them with --unfinished (unfinished=True in Python)."


def notes(values: Sequence[RunValue], counted: Sequence[RunValue], placed: Sequence[RunValue]) -> tuple[str, ...]:
    """Sentences on runs that are missing, unfinished or unlike the others.

    What a run does not say of itself, such as its architecture, is not compared.

    Args:
        values: every run.
        counted: those that count in a cell.
        placed: those of them that have a width and a task count.
    """
    found = [f"Left out: {value.run} {value.left_out}." for value in values if value.left_out]
    if not counted and any(math.isfinite(value.value) for value in values):
        found.append(NONE_FINISHED)
    found += [f"{value.run} {in_words(value.state)}, and counts." for value in counted if value.state != FINISHED]
    steps = sorted({int(value.last_step) for value in counted})
    if len(steps) > 1:
        found.append(f"Runs differ in length: their last records lie between steps {steps[0]:,} and {steps[-1]:,}.")
    architectures = sorted({value.architecture for value in counted if value.architecture is not None})
    depths = sorted({value.depth for value in counted if value.depth is not None})
    for what, kinds in (("architectures", architectures), ("depths", [str(depth) for depth in depths])):
        if len(kinds) > 1:
            found.append(f"Runs of several {what} are mixed: {', '.join(kinds)}.")
    if placed and len(placed) < len(counted):
        without = len(counted) - len(placed)
        found.append(f"{without} of {len(counted)} runs were recorded without width or task count and enter no slope.")
    return tuple(found)


def batch_notes(runs: xr.DataTree, selection: Selection, counted: Sequence[RunValue]) -> tuple[str, ...]:
    """A sentence where runs were measured on unlike batches: larger ones with more tasks, or other probe sets.

    Silent where a configuration does not tell, or all batches are alike.
    """
    if selection.metric.axis != LAYER:
        return ()
    attributes: Mapping[str, Any] = runs.attrs.get("runs", {})
    settings = {value.run: attributes.get(value.run, {}).get("configuration", {}) for value in counted}
    if selection.definition.source == TRAINING_BATCH:
        return _training_batches(settings, counted)
    if selection.definition.source == PROBE_BATCH:
        return _probe_batches(settings)
    return ()


def _training_batches(settings: Mapping[str, Mapping[str, Any]], counted: Sequence[RunValue]) -> tuple[str, ...]:
    sizes: dict[int, set[int]] = {}
    for value in counted:
        sac = settings[value.run].get("sac")
        per_task = sac.get("batch_size_per_task") if isinstance(sac, Mapping) else None
        if isinstance(per_task, int) and value.task_count is not None:
            sizes.setdefault(value.task_count, set()).add(per_task * value.task_count)
    if len({frozenset(batches) for batches in sizes.values()}) < 2:
        return ()
    told = "; ".join(
        f"{' or '.join(f'{batch:,}' for batch in sorted(batches))} at {count} {'task' if count == 1 else 'tasks'}"
        for count, batches in sorted(sizes.items())
    )
    return (f"The training batch, on which dormancy and ranks are measured, differs with the tasks: {told}.",)


def _probe_batches(settings: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    told = [states.get("hash") for each in settings.values() if isinstance(states := each.get("probe_states"), Mapping)]
    sets = {states for states in told if isinstance(states, str)}
    if len(sets) < 2:
        return ()
    return (f"The runs were scored on {len(sets)} different probe sets: compare those of one set alone.",)
