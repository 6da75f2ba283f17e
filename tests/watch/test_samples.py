"""The axis that counts samples: told by the module at work, in doubt where a module may put it elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plastikit.watch.samples import lies_otherwise, told_axis


@pytest.mark.parametrize("is_batch_first", [True, False])
def test_a_transformer_tells(is_batch_first: bool) -> None:
    """Inside torch's own layers samples lie where ``batch_first`` says."""
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=is_batch_first)
    assert told_axis([nn.ReLU(), layer], torch.ones(3, 5, 4)) == (0 if is_batch_first else 1)
    assert told_axis([layer], torch.ones(5, 4)) == 0


def test_others_do_not_tell() -> None:
    """No other module says where it puts samples."""
    assert told_axis([nn.ReLU(), nn.Sequential()], torch.ones(3, 5, 4)) is None


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.GRU(2, 2), True),
        (nn.GRU(2, 2, batch_first=True), False),
        (nn.MultiheadAttention(4, 2), True),
        (nn.MultiheadAttention(4, 2, batch_first=True), False),
        (nn.Conv2d(1, 1, 3), False),
        (nn.Linear(2, 2), False),
        (nn.ParameterList([nn.Parameter(torch.ones(3, 2, 2))]), True),
    ],
)
def test_who_may_put_samples_elsewhere(module: nn.Module, expected: bool) -> None:
    """Modules that take steps in time first, and stacks of matrices; no convolution."""
    assert lies_otherwise(module) is expected
