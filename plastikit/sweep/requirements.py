"""What all runs of a sweep need of the machine and of their settings, looked at once before any of them begins."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from plastikit.sweep.grid import PlannedRun
from plastikit.train.compiled import require_compiler
from plastikit.train.device import training_device
from plastikit.train.probe_set import probe_tasks
from plastikit.train.suites import sizes


def devices_of(runs: Sequence[PlannedRun]) -> set[str]:
    """Give the kinds of device that runs train on, ``cpu`` or ``cuda``, where each of them can be begun.

    Raises:
        ConfigurationError: a device or a compiler that is not there, a probe set that cannot be, or tasks whose
            environments cannot be made or trained on together.
    """
    for tasks in dict.fromkeys(run.config.task_names for run in runs):
        sizes(tasks)
    for run in runs:
        probe_tasks(run.config)
    devices = {training_device(run.config) for run in runs}
    to_compile_for = {training_device(run.config) for run in runs if run.config.is_compiled}
    if to_compile_for:
        # In a process of its own, so that this one takes no memory of a GPU while the runs train.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            list(pool.map(require_compiler, to_compile_for))
    return {device.type for device in devices}
