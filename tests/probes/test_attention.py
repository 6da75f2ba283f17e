"""Head norms are those of the blocks that the heads write."""

from __future__ import annotations

import math

import pytest
import torch

from plastikit.probes import HeadNorm, head_norm
from plastikit.watch.probe import Capture, Probe


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_each_head_by_itself(dtype: torch.dtype) -> None:
    """Every head's value is the mean norm of its own block of units."""
    features = torch.randn(9, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = [block.double().norm(dim=1).mean().item() for block in features.split(4, dim=1)]
    assert head_norm(features, 3).tolist() == pytest.approx(expected)


def test_a_silent_head_is_zero_and_a_spoiled_one_is_nan() -> None:
    """The other heads are measured all the same."""
    features = torch.ones(5, 6)
    features[:, 2:4] = 0
    features[1, 5] = math.nan
    assert head_norm(features, 3).tolist() == pytest.approx([math.sqrt(2), 0, math.nan], nan_ok=True)
    assert all(math.isnan(value) for value in head_norm(torch.zeros(0, 4), 2).tolist())


def test_only_layers_with_heads_are_measured() -> None:
    """Other layers have no entry, nor has one whose output was lost."""
    features = {"attention": torch.ones(2, 4), "mlp": torch.ones(2, 8)}
    reading = HeadNorm()(Capture(network="n", features=features, heads={"attention": 2, "lost": 2}))
    assert {layer: value.tolist() for layer, value in reading["head_norm"].items()} == {
        "attention": pytest.approx([math.sqrt(2)] * 2)
    }
    assert HeadNorm()(Capture(network="n", features=features)) == {}


def test_is_a_probe() -> None:
    """The object keeps to the protocol, and its passport names the heads' dimension."""
    assert isinstance(HeadNorm(), Probe)
    assert [definition.dims for definition in HeadNorm().definitions] == [("layer", "head")]
