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
    parts = {"plain": _plain, "multi_head": _multi_head, "paco": _paco, "moore": _moore, "soft_modules": _soft_modules}
    return {path: views for part in parts[architecture](own) for path, views in part.items()}


Layout = dict[str, list[Tensor]]
LEVELS = range(1, DEPTH + 1)


def _linear(own: Mapping[str, Tensor], path: str, name: str) -> Layout:
    return {f"{path}/kernel": [own[f"{name}.weight"].T], f"{path}/bias": [own[f"{name}.bias"]]}


def _stacked(own: Mapping[str, Tensor], path: str, name: str) -> Layout:
    biases = [each.flatten() for each in own[f"{name}.bias"]]
    return {f"{path}/kernel": [*own[f"{name}.weight"]], f"{path}/bias": biases}


def _plain(own: Mapping[str, Tensor]) -> list[Layout]:
    trunk = [_linear(own, f"MLP_0/layer_{level - 1}", f"trunk.linear_{level}") for level in LEVELS]
    return [*trunk, _linear(own, f"MLP_0/layer_{DEPTH}", "head")]


def _multi_head(own: Mapping[str, Tensor]) -> list[Layout]:
    trunk = [_linear(own, f"layer_{level - 1}", f"trunk.linear_{level}") for level in LEVELS]
    return [*trunk, _stacked(own, "VmapDense_0", "heads")]


def _paco(own: Mapping[str, Tensor]) -> list[Layout]:
    trunk = [_stacked(own, f"VmapDense_{level - 1}", f"trunk.linear_{level}") for level in LEVELS]
    return [_linear(own, "Dense_0", "mixture"), *trunk, _stacked(own, f"VmapDense_{DEPTH}", "head")]


def _moore(own: Mapping[str, Tensor]) -> list[Layout]:
    parts = [{"Dense_0/kernel": [own["weighting.weight"].T]}, _stacked(own, "VmapDense_0", "heads")]
    for level in LEVELS:
        experts = [_linear(own, "", f"experts.{expert}.linear_{level}") for expert in range(4)]
        place = f"VmapMLP_0/layer_{level - 1}"
        parts.append({f"{place}/{kind}": [each[f"/{kind}"][0] for each in experts] for kind in ("kernel", "bias")})
    return parts


def _soft_modules(own: Mapping[str, Tensor]) -> list[Layout]:
    parts = [_linear(own, f"f/layer_{each}", f"embedding.linear_{each + 1}") for each in (0, 1)]
    parts += [_linear(own, "z/layer_0", "routing.task"), _linear(own, "output_head", "head")]
    parts += [_linear(own, f"task_embedding_fc/layer_{each}", f"routing.linear_{each + 1}") for each in (0, 1)]
    for level in LEVELS:
        place, routing = f"prob_fcs_{level - 1}", f"routing.levels.{level - 1}"
        parts.append(_stacked(own, f"layers_{level - 1}/VmapDense_0", f"trunk.linear_{level}"))
        parts.append(_linear(own, f"{place}/prob_output_fc", f"{routing}.output"))
        if level > 1:
            parts.append(_linear(own, f"{place}/prob_embedding_fc", f"{routing}.gate"))
    return parts


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
