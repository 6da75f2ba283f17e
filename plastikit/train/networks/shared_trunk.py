"""The two simple architectures: one trunk for all tasks, which sees the task as a one-hot, and one head or many."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plastikit.train.networks.blueprint import Blueprint, TaskNetwork, rows_of
from plastikit.train.networks.full_precision import in_float32
from plastikit.train.networks.heads import Heads
from plastikit.train.networks.trunk import trunk
from plastikit.train.networks.weights import narrow_linear


class SharedTrunk(TaskNetwork):
    """A trunk on features and one-hot; the one-hot is joined here and stored nowhere else."""

    one_hot: Tensor

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint.task_count)
        one_hot = torch.zeros(blueprint.task_count, 1, blueprint.task_count)
        one_hot.diagonal(dim1=0, dim2=2).fill_(1.0)
        self.register_buffer("one_hot", one_hot, persistent=False)
        input_size = blueprint.feature_size + blueprint.task_count
        self.trunk = trunk(input_size, blueprint.config.width, blueprint.config.depth, blueprint.generator)

    def hidden(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None
    ) -> Float[Tensor, "row unit"]:
        """Give what the last hidden layer puts out; the one-hot comes last in what the first one sees."""
        one_hot = rows_of(self.one_hot, tasks).expand(-1, features.shape[1], -1)
        rows: Tensor = self.trunk(torch.cat((features, one_hot), dim=-1).flatten(0, 1))
        return rows


class PlainNetwork(SharedTrunk):
    """One head for all: the tasks differ by their one-hot alone."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.head = narrow_linear(
            blueprint.config.width, blueprint.output_size, blueprint.output_range, blueprint.generator
        )

    def forward(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        return self.by_task(in_float32(self.head, self.hidden(features, tasks)), tasks)


class MultiHeadNetwork(SharedTrunk):
    """One head per task: the paper's baseline."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        self.heads = Heads(blueprint.config.width, blueprint)

    def forward(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        hidden = self.by_task(self.hidden(features, tasks), tasks)
        outputs: Tensor = in_float32(partial(self.heads, tasks=tasks), hidden)
        return outputs
