"""MOORE: a mixture of experts that are made orthogonal to each other (Hendawy et al. 2024, arXiv:2311.11385)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plastikit.train.networks.blueprint import Blueprint, TaskNetwork, rows_of
from plastikit.train.networks.full_precision import in_float32
from plastikit.train.networks.heads import Heads
from plastikit.train.networks.trunk import trunk
from plastikit.train.networks.weights import hidden_linear

_LEAST_LENGTH = 1e-8


def orthogonal(
    vectors: Sequence[Float[Tensor, "row unit"]],
) -> tuple[list[Float[Tensor, "row unit"]], list[Float[Tensor, "row 1"]]]:
    """Make the vectors of each row orthogonal, one after the other, and say what brings each to unit length.

    Gram-Schmidt: each vector loses what lies along those before it. One that lies in their span altogether is
    brought to no particular length. Lengths are handed out apart, since scaling every vector takes time. Products that
    are rounded to bfloat16 would leave the vectors oblique: autocast does not reach them.

    >>> orthogonal([torch.tensor([[4.0, 0.0]]), torch.tensor([[1.0, 2.0]])])
    ([tensor([[4., 0.]]), tensor([[0., 2.]])], [tensor([[0.2500]]), tensor([[0.5000]])])
    """
    return in_float32(_gram_schmidt, *vectors)


def _gram_schmidt(*vectors: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    rests: list[Tensor] = []
    scales: list[Tensor] = []
    for vector in vectors:
        rest = vector
        for earlier, scale in zip(rests, scales, strict=True):
            share = torch.linalg.vecdot(vector, earlier).unsqueeze(-1) * scale.square()
            rest = torch.addcmul(rest, share, earlier, value=-1.0)
        rests.append(rest)
        scales.append(1.0 / (torch.linalg.vector_norm(rest, dim=-1, keepdim=True) + _LEAST_LENGTH))
    return rests, scales


class MooreNetwork(TaskNetwork):
    """The task decides how much each orthogonal expert counts, and which head reads them."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint.task_count)
        self.weighting = hidden_linear(blueprint.task_count, blueprint.part_count, blueprint.generator, has_bias=False)
        self.experts = nn.ModuleList(_expert(blueprint) for _ in range(blueprint.part_count))
        self.mixture = nn.Tanh()
        self.heads = Heads(blueprint.config.width, blueprint)

    def forward(
        self, features: Float[Tensor, "task sample feature"], tasks: Int[Tensor, "task"] | None = None
    ) -> Float[Tensor, "task sample output"]:
        """Give the outputs of every sample."""
        rows = features.flatten(0, 1)
        rests, scales = orthogonal([expert(rows) for expert in self.experts])
        # The layer's weight holds for each expert what it makes of every task's one-hot.
        weighting = rows_of(self.weighting.weight.T, tasks).unsqueeze(1)
        weights = (self.by_task(torch.cat(scales, dim=-1), tasks) * weighting).flatten(0, 1)
        mixed = rests[0] * weights[:, :1]
        for expert, rest in enumerate(rests[1:], start=1):
            mixed = torch.addcmul(mixed, rest, weights[:, expert : expert + 1])
        hidden = self.by_task(self.mixture(mixed), tasks)
        outputs: Tensor = in_float32(partial(self.heads, tasks=tasks), hidden)
        return outputs


def _expert(blueprint: Blueprint) -> nn.Sequential:
    """As deep as the trunks of other architectures; the last layer stays linear."""
    width, depth = blueprint.config.width, blueprint.config.depth
    layers = trunk(blueprint.feature_size, width, depth - 1, blueprint.generator)
    input_size = blueprint.feature_size if depth == 1 else width
    layers.add_module(f"linear_{depth}", hidden_linear(input_size, width, blueprint.generator))
    return layers
