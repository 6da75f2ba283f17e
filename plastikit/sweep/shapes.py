"""Which networks a sweep compares: widths, actors against critics, or architectures and what matches their counts.

Shapes are given for the tasks of a run, since published sizes and parameter counts differ with their number and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plastikit.errors import ConfigurationError
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.matching import match_parameters, parameter_counts
from plastikit.train.published import PARTED
from plastikit.train.suites import sizes


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The networks of a run, and what its name says of them."""

    label: str
    actor: NetworkConfig
    critic: NetworkConfig


Shapes = Callable[[Sequence[str]], Sequence[Shape]]
"""The shapes to train on tasks, by their names."""


def of_widths(architecture: str, widths: Sequence[int], *, depth: int | None = None) -> Shapes:
    """Actor and critics of one width, each width in turn; the depth as published where none is given."""

    def shapes(tasks: Sequence[str]) -> list[Shape]:
        networks = [NetworkConfig.published(architecture, len(tasks), width=width, depth=depth) for width in widths]
        return [Shape(label=f"width-{network.width}", actor=network, critic=network) for network in networks]

    return shapes


def actor_against_critic(
    architecture: str, actor_widths: Sequence[int], critic_widths: Sequence[int], *, depth: int | None = None
) -> Shapes:
    """Every actor with every critic."""

    def shapes(tasks: Sequence[str]) -> list[Shape]:
        def network(width: int) -> NetworkConfig:
            return NetworkConfig.published(architecture, len(tasks), width=width, depth=depth)

        return [
            Shape(label=f"actor-{actor}_critic-{critic}", actor=network(actor), critic=network(critic))
            for actor in actor_widths
            for critic in critic_widths
        ]

    return shapes


def parameter_matched(simple: str, architectures: Sequence[str], *, depth: int | None = None) -> Shapes:
    """Each architecture in its published size, and beside it a simple one that learns as many numbers.

    The simple one's actor has the width that comes closest to the actor's count, its critics the width that comes
    closest to a critic's: so the totals agree too.

    Raises:
        ConfigurationError: ``simple`` is made of parts, so that its published settings differ from the baseline's.
    """
    if simple in PARTED:
        raise ConfigurationError(f"the networks to match are {simple}, which is not simple; give multi_head or plain")

    def shapes(tasks: Sequence[str]) -> list[Shape]:
        observation, action = sizes(tasks)
        known = {"task_count": len(tasks), "observation_size": observation, "action_size": action}
        baseline = NetworkConfig.published(simple, len(tasks), depth=depth)
        found = []
        for architecture in architectures:
            network = NetworkConfig.published(architecture, len(tasks))
            wanted = parameter_counts(network, network, **known)
            closest = match_parameters(baseline, "width", wanted, **known)
            found += [
                Shape(label=architecture, actor=network, critic=network),
                Shape(label=f"{simple}-as-{architecture}", actor=closest["actor"], critic=closest["critic"]),
            ]
        return found

    return shapes
