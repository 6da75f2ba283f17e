"""Groups are whole numbers from 0 on, and anything else is told at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from plastikit.errors import ConfigurationError
from plastikit.watch.attach import attach
from plastikit.watch.groups import group_ids
from plastikit.watch.look import measure


@pytest.mark.parametrize("given", [[0, 2, 1], [0.0, 2.0, 1.0], torch.tensor([[0], [2], [1]])])
def test_whole_numbers(given: object) -> None:
    """Lists and tensors of any type and shape become one whole number per sample."""
    groups = group_ids(given)
    assert groups.tolist() == [0, 2, 1]
    assert groups.dtype == torch.int64
    assert group_ids([]).shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "named"), [(-1, "-1"), (0.5, "0.5"), (10_000, "10000"), (10**12, "10{12}"), (math.nan, "nan")]
)
def test_what_is_no_group(wrong: float, named: str, tmp_path: Path) -> None:
    """The value is named, in one look as in training."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    message = rf"groups hold {named}, where whole numbers from 0 to 9999.*0 to n - 1"
    with pytest.raises(ConfigurationError, match=message):
        measure(model, torch.ones(2, 2), groups=[0, wrong])  # type: ignore[list-item]
    watching = attach(model, store=tmp_path / "run.zarr", groups=lambda _: [0, wrong])
    with pytest.raises(ConfigurationError, match=message), watching:
        model(torch.ones(2, 2))
