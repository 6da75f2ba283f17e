"""A head for every task."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plastikit.train.networks.blueprint import Blueprint, rows_of
from plastikit.train.networks.weights import stacked, start_narrow


class Heads(nn.Module):
    """One linear head per task, all in one batched product."""

    def __init__(self, input_size: int, blueprint: Blueprint) -> None:
        super().__init__()
        self.weight = stacked(blueprint.task_count, input_size, blueprint.output_size)
        self.bias = stacked(blueprint.task_count, 1, blueprint.output_size)
        start_narrow(self.weight, self.bias, blueprint.output_range, blueprint.generator)

    def forward(
        self, hidden: Float[Tensor, "task sample unit"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give each task's samples to its own head."""
        return torch.baddbmm(rows_of(self.bias, tasks), hidden, rows_of(self.weight, tasks))
