"""Which runs a sweep is made of: every task selection with every shape of networks and every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plastikit.errors import ConfigurationError
from plastikit.sweep.shapes import Shapes
from plastikit.train.config import ProbeSetConfig, TrainingConfig
from plastikit.train.published import published_constants


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep: its name, which is its folder's, and its settings."""

    name: str
    config: TrainingConfig

    @property
    def weight(self) -> float:
        """A rough measure of how long it takes, to start the long ones first: steps, times what a step costs."""
        per_step = 1.0 + 0.01 * max(self.config.actor.width, self.config.critic.width)
        return self.config.env_steps * per_step


def plan(common: TrainingConfig, *, tasks: Sequence[str], shapes: Shapes, seeds: Sequence[int]) -> list[PlannedRun]:
    """Every combination, each once; what is not swept is as in ``common``.

    Where the probe set's tasks are left open, they are the tasks that all runs have in common, so that networks of
    different task counts are scored on the same states; without such tasks, each run's are its own.

    Args:
        common: The settings that all runs share, but for what was published with an architecture of its own.
        tasks: Task selections: a benchmark, a count, or names joined by ``+``.
        shapes: The networks to train on given tasks.
        seeds: One run each.

    Raises:
        ConfigurationError: an axis without entries, or two combinations of the same name.
        UnknownNameError: an unknown task or architecture.

    >>> from plastikit.sweep.shapes import of_widths
    >>> from plastikit.train.config import TrainingConfig
    >>> runs = plan(TrainingConfig(), tasks=["reach-v3", "MT10"], shapes=of_widths("plain", [64]), seeds=[0, 1])
    >>> [run.name for run in runs]
    ['reach-v3_width-64_seed-0', 'reach-v3_width-64_seed-1', 'MT10_width-64_seed-0', 'MT10_width-64_seed-1']
    """
    _hold_each_once("tasks", tasks)
    _hold_each_once("seeds", seeds)
    selections = {selection: replace(common, tasks=selection.replace("+", ",")) for selection in tasks}
    probe_set = _common_probe_set(common, list(selections.values()))
    runs = []
    for selection, selected in selections.items():
        candidates = shapes(selected.task_names)
        _hold_each_once("networks", [shape.label for shape in candidates])
        runs += [
            PlannedRun(
                name=f"{_named(selection, common.task_seed)}_{shape.label}_seed-{seed}",
                config=replace(
                    selected,
                    seed=seed,
                    probe_set=probe_set,
                    actor=shape.actor,
                    critic=shape.critic,
                    sac=replace(common.sac, **published_constants(shape.critic.architecture)),
                ),
            )
            for shape in candidates
            for seed in seeds
        ]
    return runs


def _common_probe_set(common: TrainingConfig, selected: Sequence[TrainingConfig]) -> ProbeSetConfig:
    if common.probe_set.tasks is not None:
        return common.probe_set
    shared = [task for task in selected[0].task_names if all(task in config.task_names for config in selected[1:])]
    return replace(common.probe_set, tasks=",".join(shared) or None)


def _hold_each_once(axis: str, entries: Sequence[object]) -> None:
    if not entries:
        raise ConfigurationError(f"the sweep has no {axis}; give one at least")
    if len(set(entries)) < len(entries):
        raise ConfigurationError(f"the sweep's {axis} names something twice: {list(entries)}; name each once")


def _named(selection: str, task_seed: int) -> str:
    if not selection.isdecimal():
        # A task in parts, or an environment of a namespace, is no folder.
        return selection.replace("/", "-in-")
    return f"tasks-{selection}" + (f"-draw-{task_seed}" if task_seed else "")
