"""Counting what agents learn, and matching one architecture's count by another's size."""

from __future__ import annotations

import pytest

from plastikit.errors import ConfigurationError
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.matching import ParameterCounts, match_parameters, parameter_counts

MT10 = {"task_count": 10, "observation_size": 39, "action_size": 4}
MT50 = {"task_count": 50, "observation_size": 39, "action_size": 4}


def counts(config: NetworkConfig, sizes: dict[str, int] = MT10) -> ParameterCounts:
    """What an agent learns whose networks are all of one shape."""
    return parameter_counts(config, config, **sizes)


def test_actor_and_critic_are_counted_apart() -> None:
    """Each network by its own shape; the total holds both critics and no target."""
    found = parameter_counts(NetworkConfig(), NetworkConfig(architecture="plain"), **MT10)
    assert (found.actor, found.critic, found.total) == (372_880, 342_801, 372_880 + 2 * 342_801)
    assert [found.of(name) for name in ("actor", "critic", "total")] == [found.actor, found.critic, found.total]


@pytest.mark.parametrize(
    ("architecture", "sizes", "network", "exact", "published"),
    [
        ("soft_modules", MT10, "actor", 556, 550),
        ("moore", MT10, "actor", 798, 800),
        ("paco", MT10, "actor", 890, 885),
        ("paco", MT50, "critic", 1805, 1805),
    ],
)
def test_widths_are_those_of_the_paper(
    architecture: str, sizes: dict[str, int], network: str, exact: int, published: int
) -> None:
    """On MT10 the paper's widths are those that match the actor, rounded; on MT50 the one that matches a critic."""
    other = NetworkConfig.published(architecture, sizes["task_count"])
    found = match_parameters(NetworkConfig(), "width", counts(other, sizes), **sizes)[network]
    assert found.width == exact
    assert abs(found.width - published) <= 6


@pytest.mark.parametrize("axis", ["width", "depth"])
@pytest.mark.parametrize("network", ["actor", "critic", "total"])
def test_no_neighbour_comes_closer(axis: str, network: str) -> None:
    """One unit or layer more or less is farther from the wanted count."""
    wanted = counts(NetworkConfig.published("moore", 10))
    simple = NetworkConfig(width=300)
    found = match_parameters(simple, axis, wanted, **MT10)[network]
    size = getattr(found, axis)

    def distance(size: int) -> int:
        config = NetworkConfig(**{"width": 300, "depth": 3} | {axis: size})
        return abs(counts(config).of(network) - wanted.of(network))

    assert distance(size) <= min(distance(size - 1), distance(size + 1))


def test_a_count_below_the_smallest_gets_the_smallest() -> None:
    """Nothing is narrower than one unit."""
    found = match_parameters(NetworkConfig(), "width", ParameterCounts(actor=1, critic=1), **MT10)
    assert {config.width for config in found.values()} == {1}


def test_out_of_reach_is_an_error() -> None:
    """So narrow a network cannot be made deep enough."""
    wanted = counts(NetworkConfig.published("paco", 10))
    with pytest.raises(ConfigurationError, match=r"a depth of 1000 has .* give a larger width"):
        match_parameters(NetworkConfig(width=3), "depth", wanted, **MT10)


def test_counting_takes_no_memory() -> None:
    """A network far larger than any memory is counted."""
    assert counts(NetworkConfig(width=1_000_000)).actor > 10**12
