"""The architectures by name."""

from __future__ import annotations

import pytest
import torch

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import NETWORKS, build_network, parameter_count
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.published import ARCHITECTURES

PUBLISHED = [
    ("plain", 10, 344_008, 342_801),
    ("plain", 50, 360_008, 358_801),
    ("multi_head", 10, 372_880, 346_410),
    ("multi_head", 50, 517_200, 378_450),
    ("soft_modules", 10, 691_022, 690_823),
    ("soft_modules", 50, 1_606_140, 1_605_941),
    ("paco", 10, 1_700_095, 1_694_060),
    ("paco", 50, 6_801_180, 6_777_040),
    ("moore", 10, 1_379_320, 1_357_650),
    ("moore", 50, 2_181_500, 2_050_750),
]
HE_UNIFORM = {
    "multi_head": {"trunk.linear_1.weight": 49, "trunk.linear_2.weight": 400, "trunk.linear_3.weight": 400},
    "paco": {"mixture.weight": 10, "trunk.linear_1.weight": 39, "trunk.linear_2.weight": 400},
    "moore": {"weighting.weight": 10, "experts.0.linear_1.weight": 39, "experts.3.linear_3.weight": 400},
    "soft_modules": {
        "embedding.linear_1.weight": 39,
        "embedding.linear_2.weight": 400,
        "routing.task.weight": 10,
        "routing.linear_1.weight": 400,
        "routing.linear_2.weight": 256,
        "routing.levels.1.gate.weight": 4,
        "trunk.linear_1.weight": 400,
        "trunk.linear_2.weight": 256,
    },
}
"""Weights, and how many numbers each of their units sums up."""


def build(
    architecture: str, *, tasks: int, features: int, outputs: int, seed: int = 0, **sizes: int | None
) -> TaskNetwork:
    """Build a network of the actor's first range, in the published size where no other is given."""
    return build_network(
        NetworkConfig.published(architecture, tasks, **sizes),
        task_count=tasks,
        feature_size=features,
        output_size=outputs,
        output_range=1e-3,
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize(("architecture", "tasks", "actor", "critic"), PUBLISHED)
def test_parameter_counts_equal_the_published(architecture: str, tasks: int, actor: int, critic: int) -> None:
    """The published sizes give the paper's counts for the actor and one critic."""
    assert parameter_count(build(architecture, tasks=tasks, features=39, outputs=8)) == actor
    assert parameter_count(build(architecture, tasks=tasks, features=43, outputs=1)) == critic


def test_every_architecture_is_built() -> None:
    """What can be configured and what can be built are the same names."""
    assert set(NETWORKS) == set(ARCHITECTURES)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_width_and_depth(architecture: str, depth: int) -> None:
    """One hidden layer or several: each sample gets outputs of its own, and each weight a finite gradient."""
    network = build(architecture, tasks=3, features=5, outputs=2, width=6, depth=depth)
    features = torch.randn(3, 4, 5)
    outputs = network(features)
    assert outputs.shape == (3, 4, 2)
    outputs.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    one_at_a_time = torch.cat([network(features[:, sample : sample + 1]) for sample in range(4)], dim=1)
    torch.testing.assert_close(outputs, one_at_a_time)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tasks_are_told_apart(architecture: str) -> None:
    """The same features give other outputs in another task."""
    outputs = build(architecture, tasks=2, features=5, outputs=3, width=8)(torch.ones(2, 1, 5))
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("chosen", [[1], [2, 0], [0, 1, 2], [1, 1]])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_some_tasks_are_those_of_all(architecture: str, chosen: list[int]) -> None:
    """Features of some tasks, whose numbers are told, give what they give among those of all tasks, gradients too."""
    network = build(architecture, tasks=3, features=5, outputs=2, width=6, depth=2)
    features = torch.randn(3, 4, 5)
    tasks = torch.tensor(chosen)
    torch.testing.assert_close(network(features[tasks], tasks), network(features)[tasks])
    parameters = list(network.parameters())
    some = torch.autograd.grad(network(features[tasks], tasks).square().sum(), parameters)
    same = torch.autograd.grad(network(features)[tasks].square().sum(), parameters)
    torch.testing.assert_close(some, same, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["plain", "multi_head"])
def test_outputs_equal_a_task_by_task_recomputation(architecture: str) -> None:
    """One call for all tasks gives what each task gives alone, with its one-hot last and its own head."""
    network = build(architecture, tasks=3, features=5, outputs=2, width=7, depth=2)
    features = torch.randn(3, 4, 5)
    outputs = network(features)
    parameters = dict(network.named_parameters())
    for task in range(3):
        for sample in range(4):
            hidden = torch.cat((features[task, sample], torch.eye(3)[task]))
            for level in (1, 2):
                weight, bias = parameters[f"trunk.linear_{level}.weight"], parameters[f"trunk.linear_{level}.bias"]
                hidden = (weight @ hidden + bias).clamp(min=0.0)
            if architecture == "plain":
                expected = parameters["head.weight"] @ hidden + parameters["head.bias"]
            else:
                expected = hidden @ parameters["heads.weight"][task] + parameters["heads.bias"][task, 0]
            torch.testing.assert_close(outputs[task, sample], expected)


@pytest.mark.parametrize("architecture", HE_UNIFORM)
def test_first_weights_lie_in_their_ranges(architecture: str) -> None:
    """Hidden layers start He-uniform with biases at 0, heads uniform within a narrow range."""
    parameters = dict(build(architecture, tasks=10, features=39, outputs=8).named_parameters())
    for name, fan_in in HE_UNIFORM[architecture].items():
        bound = (6.0 / fan_in) ** 0.5
        weight = parameters[name]
        assert bound * 0.9 < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02 if weight.numel() > 10_000 else 0.2)
        bias = parameters.get(name.replace("weight", "bias"))
        assert bias is None or not bias.any()
    head = next(name for name in parameters if name.startswith("head"))
    for name in (head, head.replace("weight", "bias")):
        assert 0.8e-3 < parameters[name].abs().max() <= 1e-3


def test_routing_starts_undecided() -> None:
    """What decides between modules starts within a thousandth, with biases at 0."""
    parameters = dict(build("soft_modules", tasks=10, features=39, outputs=8).named_parameters())
    for level in (0, 1):
        assert 0.9e-3 < parameters[f"routing.levels.{level}.output.weight"].abs().max() <= 1e-3
        assert not parameters[f"routing.levels.{level}.output.bias"].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_seed_decides_the_first_weights_and_torchs_global_state_does_not(architecture: str) -> None:
    """Two builds of one seed are equal, and building draws from nothing else."""
    before = torch.get_rng_state()
    first, again, other = (
        dict(build(architecture, tasks=2, features=3, outputs=1, width=4, seed=seed).named_parameters())
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name]) or not first[name].any()
