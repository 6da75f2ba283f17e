"""Readings find their place along the axes of the store, counted ones included."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles.runs import group
from plastikit.probes import columns
from plastikit.schema import GROUP, HEAD, LAYER, QUANTILE, Definition
from plastikit.watch.attach import attach
from plastikit.watch.monitor import Monitor
from plastikit.watch.packing import pack
from plastikit.watch.probe import Capture, Needs, Reading, Tier
from plastikit.watch.schedule import every


def _passport(variable: str, dims: tuple[str, ...]) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/test",
        long_name=variable,
        units="1",
        dims=dims,
        description="A number.",
        valid_range="any",
        pitfalls="none",
        reference="",
        cost="none",
    )


@dataclass
class _Numbers:
    """A probe that gives made-up numbers: per head, per group and head, and per quantile of each layer."""

    heads: Mapping[str, int]
    name = "numbers"
    tier = Tier.STEP
    needs = Needs.FEATURES
    axes = {QUANTILE: (0.1, 0.5, 0.9)}  # noqa: RUF012  a probe's attribute, as its protocol has it
    definitions = (
        _passport("by_head", (LAYER, HEAD)),
        _passport("by_group_and_head", (LAYER, GROUP, HEAD)),
        _passport("by_quantile", (LAYER, QUANTILE)),
    )

    def __call__(self, capture: Capture) -> Reading:
        layers = [layer for layer in capture.features if layer in self.heads]
        return {
            "by_head": {layer: 10 + torch.arange(self.heads[layer]) for layer in layers},
            "by_group_and_head": {
                layer: torch.arange(2.0 * self.heads[layer]).reshape(2, self.heads[layer]) for layer in layers
            },
            "by_quantile": {layer: torch.tensor([1.0, 2.0, 3.0]) for layer in layers},
        }


def _train(probe: _Numbers, path: Path, updates: int) -> Monitor:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with attach(model, optimizer=optimizer, store=path, schedule=every(1), probes=[probe]) as monitor:
        for number in range(updates):
            if number == 1:
                probe.heads = {"1": 3, "3": 1}
            model(torch.randn(5, 3)).square().mean().backward()
            optimizer.step()
    return monitor


def test_heads_differ_by_layer_and_grow(tmp_path: Path) -> None:
    """Entries are counted from 0 on; a layer with fewer is NaN beyond its own, and so are earlier records."""
    _train(_Numbers({"1": 2}), tmp_path / "run.zarr", updates=3)
    run = group(tmp_path / "run.zarr", "diagnostics")
    assert run["head"].values.tolist() == [0, 1, 2]
    assert run["group"].values.tolist() == [0, 1]
    assert run["quantile"].values.tolist() == [0.1, 0.5, 0.9]
    nan = np.nan
    later = [[10, 11, 12], [10, nan, nan]]
    np.testing.assert_array_equal(run["by_head"], [[[10, 11, nan], [nan] * 3], later, later])
    np.testing.assert_array_equal(run["by_group_and_head"].sel(layer="1", step=0), [[0, 1, nan], [2, 3, nan]])
    np.testing.assert_array_equal(run["by_group_and_head"].sel(layer="3", step=2), [[0, nan, nan], [1, nan, nan]])
    np.testing.assert_array_equal(run["by_quantile"].sel(layer="1"), [[1, 2, 3]] * 3)


def test_a_value_of_another_size_is_an_error(tmp_path: Path) -> None:
    """Along an axis with coordinates of its own each value has as many entries as the axis."""
    monitor = _train(_Numbers({"1": 2}), tmp_path / "run.zarr", updates=1)
    packed = pack({"by_quantile": {"1": torch.ones(2)}}, {})
    assert packed is not None
    with pytest.raises(ValueError, match=r"by_quantile of 1 has shape \(2,\)"):
        monitor._recorder.write(1, packed, None, {})


def test_no_activation_outlives_its_record(tmp_path: Path) -> None:
    """With a record at every step, what the layers put out is free once the update is done."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    outputs: list[weakref.ref[torch.Tensor]] = []

    def note(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        outputs.append(weakref.ref(output))

    model[1].register_forward_hook(note)
    with attach(model, optimizer=optimizer, store=tmp_path / "run.zarr", schedule=every(1)) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(5, 3)).square().mean().backward()
            optimizer.step()
            gc.collect()
            # The room that probes work in stays; nothing in it is an output.
            rooms = {flat.untyped_storage().data_ptr() for flat in columns._kept.flat.values()}
            tensors = [found for found in gc.get_objects() if type(found) is torch.Tensor and found.shape == (5, 4)]
            assert [found for found in tensors if found.untyped_storage().data_ptr() not in rooms] == []
            assert outputs[-1]() is None
        assert monitor.steps == 3
