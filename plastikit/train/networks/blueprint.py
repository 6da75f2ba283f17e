"""What a network is built from, and what all networks are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plastikit.train.config import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that decides a network and its first weights."""

    config: NetworkConfig
    """Complete: nothing is left to what was published."""

    task_count: int
    feature_size: int
    """What the network is given of each sample; the task is no part of it."""

    output_size: int
    output_range: float
    """The head starts uniform within plus and minus this."""

    generator: torch.Generator | None
    """Where the first weights are drawn from; None draws none."""

    @property
    def part_count(self) -> int:
        """How many modules, parameter sets or experts there are; 1 of what has none."""
        return self.config.part_count or 1


class TaskNetwork(nn.Module):
    """A network of all tasks: features ``[task, sample, feature]`` to outputs ``[task, sample, output]``.

    A sample's task is its place, so that no one-hot is handed around; architectures that take one add it themselves.
    Where the features are not those of all tasks in order, ``tasks`` says whose they are, by number.
    """

    def __init__(self, task_count: int) -> None:
        super().__init__()
        self.task_count = task_count

    def by_task(
        self, rows: Float[Tensor, "row unit"], tasks: Int[Tensor, "task"] | None
    ) -> Float[Tensor, "task sample unit"]:
        """Lay rows, the tasks' samples one after the other, out by task."""
        return rows.view(self.task_count if tasks is None else len(tasks), -1, rows.shape[-1])


def rows_of(of_all: Float[Tensor, "all *rest"], tasks: Int[Tensor, "task"] | None) -> Float[Tensor, "task *rest"]:
    """Give what belongs to ``tasks`` of what all tasks have one of; everything as it is where they are all."""
    return of_all if tasks is None else of_all[tasks]
