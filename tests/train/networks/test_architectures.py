"""The architectures by name."""

from __future__ import annotations

import pytest
import torch

from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import TaskNetwork, build_network, parameter_count

PUBLISHED = [
    ("plain", 10, 344_008, 342_801),
    ("plain", 50, 360_008, 358_801),
    ("multi_head", 10, 372_880, 346_410),
    ("multi_head", 50, 517_200, 378_450),
]


def build(
    architecture: str, *, tasks: int, features: int, outputs: int, width: int = 400, depth: int = 3, seed: int = 0
) -> TaskNetwork:
    """Build a network of the actor's first range."""
    return build_network(
        NetworkConfig(architecture=architecture, width=width, depth=depth),
        task_count=tasks,
        feature_size=features,
        output_size=outputs,
        output_range=1e-3,
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize(("architecture", "tasks", "actor", "critic"), PUBLISHED)
def test_parameter_counts_equal_the_published(architecture: str, tasks: int, actor: int, critic: int) -> None:
    """Width 400 and depth 3 give the paper's counts for the actor and one critic."""
    assert parameter_count(build(architecture, tasks=tasks, features=39, outputs=8)) == actor
    assert parameter_count(build(architecture, tasks=tasks, features=43, outputs=1)) == critic


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


def test_first_weights_lie_in_their_ranges() -> None:
    """Hidden layers start He-uniform with biases at 0, heads uniform within a narrow range."""
    network = build("multi_head", tasks=10, features=39, outputs=8)
    parameters = dict(network.named_parameters())
    for level, fan_in in ((1, 49), (2, 400), (3, 400)):
        bound = (6.0 / fan_in) ** 0.5
        weight = parameters[f"trunk.linear_{level}.weight"]
        assert bound * 0.99 < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert not parameters[f"trunk.linear_{level}.bias"].any()
    for name in ("heads.weight", "heads.bias"):
        assert 0.9e-3 < parameters[name].abs().max() <= 1e-3


def test_a_seed_decides_the_first_weights_and_torchs_global_state_does_not() -> None:
    """Two builds of one seed are equal, and building draws from nothing else."""
    before = torch.get_rng_state()
    first, again, other = (build("plain", tasks=2, features=3, outputs=1, width=4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.trunk.linear_1.weight, again.trunk.linear_1.weight)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(first.trunk.linear_1.weight, other.trunk.linear_1.weight)  # type: ignore[union-attr, arg-type]
