"""What a monitor finds in each architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import plastikit
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network

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


@pytest.mark.parametrize("architecture", LAYERS)
def test_hidden_layers_are_watched_and_heads_are_not(architecture: str, tmp_path: Path) -> None:
    """Every activation is a layer with its own name, its units counted and its samples in the order of the tasks."""
    network = build_network(
        NetworkConfig(architecture=architecture, width=WIDTH, depth=2),
        task_count=TASKS,
        feature_size=5,
        output_size=2,
        output_range=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.Adam(network.parameters())
    store = tmp_path / "run.zarr"

    def task_of_each_sample(_: object) -> torch.Tensor:
        return torch.arange(TASKS).repeat_interleave(SAMPLES)

    with plastikit.attach(network, optimizer=optimizer, store=store, groups=task_of_each_sample) as monitor:
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
