"""The architectures by name, and how many numbers each of them learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import nn

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.blueprint import Blueprint, TaskNetwork
from plastikit.train.networks.moore import MooreNetwork
from plastikit.train.networks.paco import PacoNetwork
from plastikit.train.networks.shared_trunk import MultiHeadNetwork, PlainNetwork
from plastikit.train.networks.soft_modules import SoftModulesNetwork

NETWORKS: Final[Mapping[str, Callable[[Blueprint], TaskNetwork]]] = {
    "multi_head": MultiHeadNetwork,
    "plain": PlainNetwork,
    "soft_modules": SoftModulesNetwork,
    "paco": PacoNetwork,
    "moore": MooreNetwork,
}


def build_network(
    config: NetworkConfig,
    *,
    task_count: int,
    feature_size: int,
    output_size: int,
    output_range: float,
    generator: torch.Generator | None,
) -> TaskNetwork:
    """Build the architecture that ``config`` names, with its first weights drawn from ``generator``."""
    return NETWORKS[config.architecture](
        Blueprint(
            config=config.completed(task_count),
            task_count=task_count,
            feature_size=feature_size,
            output_size=output_size,
            output_range=output_range,
            generator=generator,
        )
    )


def parameter_count(network: nn.Module) -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
