"""Which runs a sweep is made of: every task selection at every width with every seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plastikit.errors import ConfigurationError
from plastikit.train.config import TrainingConfig


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


def plan(
    common: TrainingConfig, *, tasks: Sequence[str], widths: Sequence[int], seeds: Sequence[int]
) -> list[PlannedRun]:
    """Every combination, each once; what is not swept is as in ``common``.

    Args:
        common: The settings that all runs share.
        tasks: Task selections: a benchmark, a count, or names joined by ``+``.
        widths: Units in each hidden layer, of actor and critics alike.
        seeds: One run each.

    Raises:
        ConfigurationError: an axis without entries, or two combinations of the same name.
        UnknownNameError: an unknown task.

    >>> from plastikit.train.config import TrainingConfig
    >>> [run.name for run in plan(TrainingConfig(), tasks=["reach-v3", "MT10"], widths=[64], seeds=[0, 1])]
    ['reach-v3_width-64_seed-0', 'reach-v3_width-64_seed-1', 'MT10_width-64_seed-0', 'MT10_width-64_seed-1']
    """
    for axis, entries in (("tasks", tasks), ("width", widths), ("seeds", seeds)):
        if not entries:
            raise ConfigurationError(f"the sweep has no {axis}; give one at least")
        if len(set(entries)) < len(entries):
            raise ConfigurationError(f"the sweep's {axis} names something twice: {list(entries)}; name each once")
    return [
        PlannedRun(
            name=f"{_named(selection, common.task_seed)}_width-{width}_seed-{seed}",
            config=replace(
                common,
                tasks=selection.replace("+", ","),
                seed=seed,
                actor=replace(common.actor, width=width),
                critic=replace(common.critic, width=width),
            ),
        )
        for selection in tasks
        for width in widths
        for seed in seeds
    ]


def _named(selection: str, task_seed: int) -> str:
    if not selection.isdecimal():
        return selection
    return f"tasks-{selection}" + (f"-draw-{task_seed}" if task_seed else "")
