"""Soft Modules: layers of modules, and a routing network that says for each sample which of them feeds which.

After Yang et al. 2020, arXiv:2003.13661, as McLean et al. 2025 publish it: routing sees the probabilities of all levels
before it, and a last level of it weighs the modules of the last layer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plastikit.train.networks.blueprint import Blueprint, TaskNetwork, rows_of
from plastikit.train.networks.full_precision import in_float32
from plastikit.train.networks.weights import hidden_linear, narrow_linear, stacked, start_hidden

_ROUTING_RANGE = 1e-3


class ObservationEmbedding(nn.Module):
    """Two linear layers; the embedding is needed before its ReLU and after it."""

    def __init__(self, input_size: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.linear_1 = hidden_linear(input_size, width, generator)
        self.hidden_1 = nn.ReLU()
        self.linear_2 = hidden_linear(width, width, generator)
        self.hidden_2 = nn.ReLU()

    def forward(
        self, rows: Float[Tensor, "row feature"]
    ) -> tuple[Float[Tensor, "row unit"], Float[Tensor, "row unit"]]:
        """Give the embedding before and after its ReLU."""
        before = self.linear_2(self.hidden_1(self.linear_1(rows)))
        return before, self.hidden_2(before)


class ModuleLayer(nn.Module):
    """The modules of one layer, in one batched product."""

    def __init__(self, module_count: int, input_size: int, width: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.weight = stacked(module_count, input_size, width)
        self.bias = stacked(module_count, 1, width)
        start_hidden(self.weight, self.bias, generator)

    def forward(self, hidden: Float[Tensor, "module row input"]) -> Float[Tensor, "row module unit"]:
        """Give what each module makes of its own input."""
        return torch.baddbmm(self.bias, hidden, self.weight).transpose(0, 1)


class RoutingLevel(nn.Module):
    """Probabilities from a sample's routing embedding and, but for the first level, the probabilities before."""

    def __init__(self, width: int, seen: int, decided: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.gate = hidden_linear(seen, width, generator) if seen else None
        self.hidden = nn.ReLU()
        self.output = narrow_linear(width, decided, _ROUTING_RANGE, generator, has_zero_bias=True)

    def forward(
        self, embedding: Float[Tensor, "row unit"], before: list[Float[Tensor, "row probability"]], choices: int
    ) -> Float[Tensor, "row chooser choice"]:
        """Decide between ``choices`` modules, for each that is to be fed."""
        if self.gate is not None:
            embedding = embedding * self.gate(torch.cat(before, dim=-1))
        preferences: Tensor = self.output(self.hidden(embedding))
        return torch.softmax(preferences.unflatten(-1, (-1, choices)), dim=-1)


class Routing(nn.Module):
    """The routing network: what observation and task are taken for together, and a level for each layer of modules."""

    def __init__(self, blueprint: Blueprint, embedding_width: int) -> None:
        super().__init__()
        width, depth, generator = blueprint.config.width, blueprint.config.depth, blueprint.generator
        module_count = blueprint.part_count
        self.task = hidden_linear(blueprint.task_count, embedding_width, generator)
        self.hidden_1 = nn.ReLU()
        self.linear_1 = hidden_linear(embedding_width, width, generator)
        self.hidden_2 = nn.ReLU()
        self.linear_2 = hidden_linear(width, width, generator)
        self.levels = nn.ModuleList(
            RoutingLevel(
                width,
                seen=level * module_count**2,
                decided=module_count if level == depth - 1 else module_count**2,
                generator=generator,
            )
            for level in range(depth)
        )

    def forward(
        self, observation: Float[Tensor, "task sample unit"], tasks: Int[Tensor, "task"] | None
    ) -> Float[Tensor, "row unit"]:
        """Give the routing embedding, which every level starts from."""
        # What the layer makes of every task's one-hot, without a product.
        task = (rows_of(self.task.weight.T, tasks) + self.task.bias).unsqueeze(1)
        embedding: Tensor = self.linear_2(
            self.hidden_2(self.linear_1(self.hidden_1((task * observation).flatten(0, 1))))
        )
        return embedding


class ModuleTrunk(nn.Module):
    """The layers of modules, with a ReLU after each: ``linear_1``, ``hidden_1``, ...

    Of a layer all modules' units lie side by side; of the last, what is left when they are weighed together.
    """

    def __init__(self, blueprint: Blueprint, embedding_width: int) -> None:
        super().__init__()
        self.module_count = blueprint.part_count
        self.depth = blueprint.config.depth
        for level in range(1, self.depth + 1):
            input_size = embedding_width if level == 1 else blueprint.config.width
            layer = ModuleLayer(self.module_count, input_size, blueprint.config.width, blueprint.generator)
            self.add_module(f"linear_{level}", layer)
            self.add_module(f"hidden_{level}", nn.ReLU())

    def forward(
        self, observation: Float[Tensor, "row unit"], embedding: Float[Tensor, "row unit"], levels: nn.ModuleList
    ) -> Float[Tensor, "row unit"]:
        """Give what the last layer puts out."""
        hidden = observation.expand(self.module_count, -1, -1)
        before: list[Tensor] = []
        for level, routing in enumerate(levels, start=1):
            probabilities = routing(embedding, before, self.module_count)
            modules = getattr(self, f"linear_{level}")(hidden)
            rows: Tensor = getattr(self, f"hidden_{level}")(torch.bmm(probabilities, modules).flatten(1))
            if level < self.depth:
                before.append(probabilities.flatten(1))
                hidden = rows.unflatten(1, (self.module_count, -1)).transpose(0, 1)
        return rows


class SoftModulesNetwork(TaskNetwork):
    """The task speaks in the routing alone; modules and head see the observation."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint.task_count)
        config, generator = blueprint.config, blueprint.generator
        embedding_width = config.embedding_width or config.width
        self.embedding = ObservationEmbedding(blueprint.feature_size, embedding_width, generator)
        self.routing = Routing(blueprint, embedding_width)
        self.trunk = ModuleTrunk(blueprint, embedding_width)
        self.head = narrow_linear(config.width, blueprint.output_size, blueprint.output_range, generator)

    def forward(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        before, after = self.embedding(features.flatten(0, 1))
        rows = self.trunk(after, self.routing(self.by_task(before, tasks), tasks), self.routing.levels)
        return self.by_task(in_float32(self.head, rows), tasks)
