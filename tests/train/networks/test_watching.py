"""What a monitor finds in each architecture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import plastikit
from plastikit.probes.dormancy import DormantFraction
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network
from plastikit.train.networks.blueprint import TaskNetwork
from plastikit.train.watching import task_of_each_row

WIDTH, TASKS, SAMPLES = 8, 3, 4
TRUNK = {"trunk.hidden_1": WIDTH, "trunk.hidden_2": WIDTH}
LAYERS = {
    "plain": TRUNK,
    "multi_head": TRUNK,
    "paco": TRUNK,
    "soft_modules": {
        "embedding.hidden_1": 400,
        "embedding.hidden_2": 400,
        "routing.hidden_1": 400,
        "routing.hidden_2": WIDTH,
        "routing.levels.0.hidden": WIDTH,
        "routing.levels.1.hidden": WIDTH,
        "trunk.hidden_1": 2 * WIDTH,
        "trunk.hidden_2": WIDTH,
    },
    "moore": {**{f"experts.{expert}.hidden_1": WIDTH for expert in range(4)}, "mixture": WIDTH},
}
"""The layers of each architecture at depth 2, and their units."""


def built(architecture: str) -> TaskNetwork:
    """Build a small network of an architecture."""
    return build_network(
        NetworkConfig(architecture=architecture, width=WIDTH, depth=2),
        task_count=TASKS,
        feature_size=5,
        output_size=2,
        output_range=1.0,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("architecture", LAYERS)
def test_hidden_layers_are_watched_and_heads_are_not(architecture: str, tmp_path: Path) -> None:
    """Every activation is a layer with its own name, its units counted and its samples in the order of the tasks."""
    network = built(architecture)
    optimizer = torch.optim.Adam(network.parameters())
    store = tmp_path / "run.zarr"

    with plastikit.attach(network, optimizer=optimizer, store=store, groups=task_of_each_row) as monitor:
        for _ in range(2):
            network(torch.randn(TASKS, SAMPLES, 5)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert set(monitor.layers) == set(LAYERS[architecture])

    diagnostics = plastikit.open_run(store)["diagnostics"]
    units = dict(zip(diagnostics["layer"].values.tolist(), diagnostics["layer_units"].values.tolist(), strict=True))
    assert units == LAYERS[architecture]
    assert set(diagnostics["parameter"].values.tolist()) == {name for name, _ in network.named_parameters()}
    by_task = diagnostics["group_dormant_fraction"]
    assert by_task.sizes["group"] == TASKS
    assert by_task.isel(step=0).notnull().all()


@pytest.mark.parametrize("tasks", [None, (2, 0)])
@pytest.mark.parametrize("architecture", LAYERS)
def test_a_task_is_measured_on_its_own_samples(architecture: str, tasks: tuple[int, ...] | None) -> None:
    """What is told of a task is what its samples alone, sent through the network by themselves, activate."""
    network = built(architecture)
    places = None if tasks is None else torch.tensor(tasks)
    features = torch.randn(TASKS if tasks is None else len(tasks), 40, 5)
    inputs = (features,) if places is None else (features, places)
    told = plastikit.measure(
        network, inputs, probes=[DormantFraction(taus=(0.1, 0.7))], groups=task_of_each_row(*inputs).tolist()
    )["group_dormant_fraction"]
    seen: dict[str, torch.Tensor] = {}
    for label in LAYERS[architecture]:
        network.get_submodule(label).register_forward_hook(
            lambda _module, _inputs, output, label=label: seen.update({label: output.detach()})
        )
    for row, task in enumerate(range(TASKS) if tasks is None else tasks):
        network(features[row : row + 1], torch.tensor([task]))
        for label, units in LAYERS[architecture].items():
            activation = seen[label].reshape(-1, units).abs().mean(dim=0)
            for tau in (0.1, 0.7):
                expected = (activation <= tau * activation.mean()).float().mean().item()
                assert told[label][task][tau] == pytest.approx(expected), (label, task, tau)
    if tasks is not None:
        assert all(math.isnan(told[label][1][0.1]) for label in told)
