"""How many numbers networks learn, and which size of one architecture comes closest to another's count.

Networks are built on torch's meta device for it: they have shapes and take no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch

from plastikit.errors import ConfigurationError
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network, parameter_count

NETWORKS_COUNTED: Final = ("actor", "critic", "total")
"""What a count is of: the actor, one critic, or the actor and both critics together."""

Axis = Literal["width", "depth"]
_LARGEST: Final[Mapping[Axis, int]] = {"width": 1_000_000, "depth": 1_000}


@dataclass(frozen=True, kw_only=True)
class ParameterCounts:
    """How many numbers an agent learns; targets, which only follow, and temperatures left out."""

    actor: int
    critic: int
    """Of one critic."""

    @property
    def total(self) -> int:
        """Of the actor and both critics."""
        return self.actor + 2 * self.critic

    def of(self, network: str) -> int:
        """Give one of ``NETWORKS_COUNTED``."""
        return {"actor": self.actor, "critic": self.critic, "total": self.total}[network]


def parameter_counts(
    actor: NetworkConfig, critic: NetworkConfig, *, task_count: int, observation_size: int, action_size: int
) -> ParameterCounts:
    """Count what an agent of these shapes learns."""

    def count(config: NetworkConfig, feature_size: int, output_size: int) -> int:
        with torch.device("meta"):
            network = build_network(
                config,
                task_count=task_count,
                feature_size=feature_size,
                output_size=output_size,
                output_range=1.0,
                generator=None,
            )
        return parameter_count(network)

    return ParameterCounts(
        actor=count(actor, observation_size, 2 * action_size),
        critic=count(critic, action_size + observation_size, 1),
    )


def match_parameters(
    simple: NetworkConfig,
    axis: Axis,
    wanted: ParameterCounts,
    *,
    task_count: int,
    observation_size: int,
    action_size: int,
) -> dict[str, NetworkConfig]:
    """Find the sizes of ``simple`` whose counts come closest to ``wanted``, for each of ``NETWORKS_COUNTED``.

    Args:
        simple: the shape to scale; actor and critics alike.
        axis: what of it to vary, ``width`` or ``depth``.
        wanted: the counts to come close to.
        task_count: how many tasks both are for.
        observation_size: numbers in an observation.
        action_size: numbers in an action.

    Raises:
        ConfigurationError: not even the largest width or depth that is tried reaches the count.
    """

    def sized(size: int) -> NetworkConfig:
        return replace(simple, width=size) if axis == "width" else replace(simple, depth=size)

    def count_of(network: str) -> Callable[[int], int]:
        def count(size: int) -> int:
            config = sized(size)
            counts = parameter_counts(
                config, config, task_count=task_count, observation_size=observation_size, action_size=action_size
            )
            return counts.of(network)

        return count

    return {network: sized(_closest(count_of(network), wanted.of(network), axis)) for network in NETWORKS_COUNTED}


def _closest(count: Callable[[int], int], wanted: int, axis: Axis) -> int:
    """The size whose count, which grows with it, is nearest; the smaller of two that are as near."""
    below, above = 1, 2
    while count(above) < wanted:
        if above >= _LARGEST[axis]:
            raise ConfigurationError(
                f"a {axis} of {above} has {count(above):,} parameters, and {wanted:,} were to be matched; "
                f"give a larger {'depth' if axis == 'width' else 'width'}."
            )
        below, above = above, min(2 * above, _LARGEST[axis])
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if count(middle) < wanted else (below, middle)
    return min((below, above), key=lambda size: (abs(count(size) - wanted), size))
