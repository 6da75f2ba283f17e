"""PaCo: each task's layers are its own mixture of shared parameter sets (Sun et al. 2022, arXiv:2210.11653)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plastikit.train.networks.blueprint import Blueprint, TaskNetwork, rows_of
from plastikit.train.networks.full_precision import in_float32
from plastikit.train.networks.weights import hidden_linear, stacked, start_hidden, start_narrow


class CompositionalLinear(nn.Module):
    """A linear layer of several parameter sets, which each task mixes by weights of its own."""

    def __init__(self, part_count: int, input_size: int, output_size: int) -> None:
        super().__init__()
        self.weight = stacked(part_count, input_size, output_size)
        self.bias = stacked(part_count, output_size)

    def forward(
        self, hidden: Float[Tensor, "task sample input"], mixture: Float[Tensor, "task part"]
    ) -> Float[Tensor, "task sample output"]:
        """Mix the sets once per task, not what each of them makes of every sample: it comes to the same."""
        weight = (mixture @ self.weight.flatten(1)).view(-1, *self.weight.shape[1:])
        bias = (mixture @ self.bias).unsqueeze(1)
        return torch.baddbmm(bias, hidden, weight)


class CompositionalTrunk(nn.Module):
    """Compositional layers with a ReLU after each: ``linear_1``, ``hidden_1``, ..."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        width = blueprint.config.width
        self.depth = blueprint.config.depth
        for level in range(1, self.depth + 1):
            linear = CompositionalLinear(blueprint.part_count, blueprint.feature_size if level == 1 else width, width)
            start_hidden(linear.weight, linear.bias, blueprint.generator)
            self.add_module(f"linear_{level}", linear)
            self.add_module(f"hidden_{level}", nn.ReLU())

    def forward(
        self, hidden: Float[Tensor, "task sample feature"], mixture: Float[Tensor, "task part"]
    ) -> Float[Tensor, "task sample unit"]:
        """Give what the last hidden layer puts out."""
        for level in range(1, self.depth + 1):
            before = getattr(self, f"linear_{level}")(hidden, mixture)
            # As rows, so that whoever watches sees samples on the first axis and units on the second.
            hidden = getattr(self, f"hidden_{level}")(before.flatten(0, 1)).view_as(before)
        return hidden


class PacoNetwork(TaskNetwork):
    """The task decides the mixture and nothing else: layers do not see it."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint.task_count)
        self.mixture = hidden_linear(blueprint.task_count, blueprint.part_count, blueprint.generator)
        self.trunk = CompositionalTrunk(blueprint)
        self.head = CompositionalLinear(blueprint.part_count, blueprint.config.width, blueprint.output_size)
        start_narrow(self.head.weight, self.head.bias, blueprint.output_range, blueprint.generator)

    def forward(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        # What the layer makes of every task's one-hot, without a product.
        mixture = rows_of(self.mixture.weight.T, tasks) + self.mixture.bias
        outputs: Tensor = in_float32(self.head, self.trunk(features, mixture), mixture)
        return outputs
