"""What the ranks of a wide layer cost: all of them over one eigendecomposition of the batch's Gram matrix."""

from __future__ import annotations

import torch
from benchmarks.pairs import paired_ratios, table

from plastikit.probes import PROBES
from plastikit.watch.probe import Capture

SAMPLES, UNITS = 1280, 4096


def test_ranks_of_a_wide_layer() -> None:
    """4096 units, 1280 samples."""
    torch.manual_seed(0)
    features = torch.randn(SAMPLES, 64) @ torch.randn(64, UNITS) + 0.1 * torch.randn(SAMPLES, UNITS)
    features = features.relu()
    probe = PROBES["rank"]()
    capture = Capture(network="model", features={"layer": features})
    gram = (features @ features.T).double()
    ratios = paired_ratios(
        {
            "one float64 eigendecomposition": lambda: torch.linalg.eigvalsh(gram),
            "all ranks": lambda: probe(capture),
        },
        rounds=5,
    )
    print(table(f"{UNITS} units, {SAMPLES} samples", ratios))
    assert ratios["all ranks"] > 1.0
