"""Sums over samples agree with sums of fresh copies, whatever the shape, and leave what was handed in alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plastikit.probes.columns import absolute_sums, column_sums, counts

SHAPES = [(7, 5), (128, 400), (1280, 400), (16, 2**15), (0, 3), (5, 0)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def _drawn(shape: tuple[int, int], dtype: torch.dtype, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_the_obvious(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Small matrices, summed together, and large ones, summed one by one, give what float64 gives."""
    matrices = _drawn(shape, dtype)
    exact = torch.stack(matrices).double()
    close = {"rtol": 1e-5, "atol": 1e-3, "check_dtype": False}
    torch.testing.assert_close(column_sums(matrices), exact.sum(dim=1), **close)
    torch.testing.assert_close(absolute_sums(matrices), exact.abs().sum(dim=1), **close)
    assert torch.equal(counts(matrices, torch.gt, 0.5).long(), (torch.stack(matrices) > 0.5).sum(dim=1))


def test_values_outlive_the_next_call() -> None:
    """What was handed out is not written over by what is measured later."""
    first = absolute_sums([torch.ones(4, 3)])
    absolute_sums([torch.zeros(4, 3)])
    assert first.tolist() == [[4, 4, 4]]


def test_the_memory_takes_part_in_no_gradient() -> None:
    """After matrices that track gradients, and after inference mode, other matrices are measured as ever."""
    tracked = torch.ones(4, 3, requires_grad=True)
    assert counts([tracked], torch.gt, 0).tolist() == [[4, 4, 4]]
    assert not absolute_sums([tracked]).requires_grad
    with torch.inference_mode():
        assert absolute_sums([torch.ones(6, 2)]).tolist() == [[6, 6]]
    assert absolute_sums([torch.ones(6, 2)]).tolist() == [[6, 6]]
