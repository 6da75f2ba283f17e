"""Weights in the layout of the published networks, and where each of them lies in ours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

TASKS, SAMPLES, OBSERVATION, ACTION = 3, 4, 5, 2
WIDTH, DEPTH = 16, 3
ROLES = {"actor": 10, "critic_0": 110, "critic_1": 210}
"""The networks that were compared, and the stream of the first weight of each."""


def wave(shape: tuple[int, ...], stream: int) -> Tensor:
    """Numbers in [-1, 1) that both sides compute exactly: a square polynomial of the index, modulo a prime."""
    index = torch.arange(math.prod(shape), dtype=torch.int64)
    whole = (7919 * index * index + (104729 + 1299709 * stream) * index + 15485863 * stream) % 65537
    return (whole.double() / 32768.0 - 1.0).reshape(shape)


def published_layout(architecture: str, own: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Each published tensor by its path, as views of ours: one, or several where they are stacked there."""

    def linear(path: str, name: str) -> dict[str, list[Tensor]]:
        return {f"{path}/kernel": [own[f"{name}.weight"].T], f"{path}/bias": [own[f"{name}.bias"]]}

    def stacked(path: str, name: str) -> dict[str, list[Tensor]]:
        return {f"{path}/kernel": [*own[f"{name}.weight"]], f"{path}/bias": [each.flatten() for each in own[f"{name}.bias"]]}

    levels = range(1, DEPTH + 1)
    match architecture:
        case "plain":
            trunk = [linear(f"MLP_0/layer_{level - 1}", f"trunk.linear_{level}") for level in levels]
            parts = [*trunk, linear(f"MLP_0/layer_{DEPTH}", "head")]
        case "multi_head":
            parts = [*(linear(f"layer_{level - 1}", f"trunk.linear_{level}") for level in levels)]
            parts += [stacked("VmapDense_0", "heads")]
        case "paco":
            parts = [linear("Dense_0", "mixture"), stacked(f"VmapDense_{DEPTH}", "head")]
            parts += [stacked(f"VmapDense_{level - 1}", f"trunk.linear_{level}") for level in levels]
        case "moore":
            parts = [{"Dense_0/kernel": [own["weighting.weight"].T]}, stacked("VmapDense_0", "heads")]
            for level in levels:
                experts = [linear("", f"experts.{expert}.linear_{level}") for expert in range(4)]
                for kind in ("kernel", "bias"):
                    parts += [{f"VmapMLP_0/layer_{level - 1}/{kind}": [each[f"/{kind}"][0] for each in experts]}]
        case "soft_modules":
            parts = [linear("f/layer_0", "embedding.linear_1"), linear("f/layer_1", "embedding.linear_2")]
            parts += [linear("z/layer_0", "routing.task"), linear("output_head", "head")]
            parts += [linear(f"task_embedding_fc/layer_{each}", f"routing.linear_{each + 1}") for each in (0, 1)]
            for level in levels:
                place = f"prob_fcs_{level - 1}"
                parts += [stacked(f"layers_{level - 1}/VmapDense_0", f"trunk.linear_{level}")]
                parts += [linear(f"{place}/prob_output_fc", f"routing.levels.{level - 1}.output")]
                parts += [linear(f"{place}/prob_embedding_fc", f"routing.levels.{level - 1}.gate")] if level > 1 else []
    return {path: views for part in parts for path, views in part.items()}


def joined(views: list[Tensor]) -> Tensor:
    """The published tensor itself."""
    return views[0] if len(views) == 1 else torch.stack(views)


@torch.no_grad()
def carry_over(architecture: str, network: nn.Module, role: str) -> None:
    """Give our network the weights that the published one had."""
    layout = published_layout(architecture, dict(network.named_parameters()))
    for number, path in enumerate(sorted(layout)):
        views = layout[path]
        shape = tuple(joined(views).shape)
        scale = math.sqrt(6.0 / shape[-2]) if path.endswith("kernel") else 0.25
        weights = scale * wave(shape, ROLES[role] + number)
        for view, part in zip(views, [weights] if len(views) == 1 else weights, strict=True):
            view.copy_(part)
