"""Layers are put together where they are alike, and only there."""

from __future__ import annotations

import pytest
import torch

from plastikit.probes.together import add, alike, pooled
from plastikit.watch.probe import Rows


def test_layers_of_one_shape_precision_and_kind() -> None:
    """Each difference sets a layer apart."""
    matrices = {
        "a": torch.ones(2, 3),
        "wide": torch.ones(2, 4),
        "b": torch.ones(2, 3),
        "double": torch.ones(2, 3).double(),
        "other": torch.ones(2, 3),
    }
    assert list(alike(matrices)) == [["a", "b", "other"], ["wide"], ["double"]]
    assert list(alike(matrices, lambda layer: layer == "other")) == [["a", "b"], ["wide"], ["double"], ["other"]]


def test_values_of_further_layers_are_added() -> None:
    """A variable has the values of all layers that were added."""
    reading: dict[str, Rows] = {}
    add(reading, "share", ["a", "b"], torch.tensor([1.0, 2.0]))
    add(reading, "share", ["c"], torch.tensor([3.0]))
    assert {label: value.item() for label, value in reading["share"].items()} == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize("units", [1, 9])
def test_units_are_pooled(units: int) -> None:
    """Every unit counts once, in however many layers and groups of layers."""
    shares = [(torch.tensor([0.5, 1.0]), 2), (torch.tensor([0.0]), units)]
    assert pooled(shares).tolist() == [pytest.approx(3 / (4 + units))]
    assert pooled(shares[:1]).tolist() == [0.75]
