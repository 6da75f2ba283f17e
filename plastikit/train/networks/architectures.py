"""The architectures by name: each maps features of every task to outputs of every task, ``[task, sample, ...]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.trunk import linear_layer, trunk


class TaskNetwork(nn.Module):
    """What all architectures share: the task's one-hot is joined to the features here, and stored nowhere else."""

    one_hot: Tensor

    def __init__(self, task_count: int) -> None:
        super().__init__()
        self.task_count = task_count
        self.register_buffer("one_hot", torch.eye(task_count).unsqueeze(1), persistent=False)

    def join_task(self, features: Float[Tensor, "task sample feature"]) -> Float[Tensor, "row input"]:
        """Put the one-hot last and lay the tasks' samples one after the other, as linear layers take them."""
        one_hot = self.one_hot.expand(-1, features.shape[1], -1)
        return torch.cat((features, one_hot), dim=-1).flatten(0, 1)


class PlainNetwork(TaskNetwork):
    """A shared trunk and one shared linear head: the tasks differ by their one-hot alone."""

    def __init__(
        self,
        *,
        task_count: int,
        feature_size: int,
        output_size: int,
        width: int,
        depth: int,
        output_range: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(task_count)
        self.trunk = trunk(feature_size + task_count, width, depth, generator)
        self.head = linear_layer(width, output_size)
        nn.init.uniform_(self.head.weight, -output_range, output_range, generator=generator)
        nn.init.uniform_(self.head.bias, -output_range, output_range, generator=generator)

    def forward(self, features: Float[Tensor, "task sample feature"]) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        outputs: Tensor = self.head(self.trunk(self.join_task(features)))
        return outputs.view(self.task_count, -1, outputs.shape[-1])


class Heads(nn.Module):
    """One linear head per task, all in one batched product."""

    def __init__(
        self, task_count: int, input_size: int, output_size: int, output_range: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(task_count, input_size, output_size))
        self.bias = nn.Parameter(torch.empty(task_count, 1, output_size))
        nn.init.uniform_(self.weight, -output_range, output_range, generator=generator)
        nn.init.uniform_(self.bias, -output_range, output_range, generator=generator)

    def forward(self, hidden: Float[Tensor, "task sample unit"]) -> Float[Tensor, "task sample output"]:
        """Give each task's samples to its own head."""
        return torch.baddbmm(self.bias, hidden, self.weight)


class MultiHeadNetwork(TaskNetwork):
    """A shared trunk, which sees the one-hot too, and one linear head per task: the paper's baseline."""

    def __init__(
        self,
        *,
        task_count: int,
        feature_size: int,
        output_size: int,
        width: int,
        depth: int,
        output_range: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(task_count)
        self.trunk = trunk(feature_size + task_count, width, depth, generator)
        self.heads = Heads(task_count, width, output_size, output_range, generator)

    def forward(self, features: Float[Tensor, "task sample feature"]) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        hidden: Tensor = self.trunk(self.join_task(features))
        outputs: Tensor = self.heads(hidden.view(self.task_count, -1, hidden.shape[-1]))
        return outputs


NETWORKS: Final[Mapping[str, Callable[..., TaskNetwork]]] = {
    "multi_head": MultiHeadNetwork,
    "plain": PlainNetwork,
}


def build_network(
    config: NetworkConfig,
    *,
    task_count: int,
    feature_size: int,
    output_size: int,
    output_range: float,
    generator: torch.Generator,
) -> TaskNetwork:
    """Build the architecture that ``config`` names, with its first weights drawn from ``generator``."""
    return NETWORKS[config.architecture](
        task_count=task_count,
        feature_size=feature_size,
        output_size=output_size,
        width=config.width,
        depth=config.depth,
        output_range=output_range,
        generator=generator,
    )


def parameter_count(network: nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
