"""Quantiles of rows of any length are those that torch gives for each row alone."""

from __future__ import annotations

import math

import pytest
import torch

from plastikit.probes.quantiles import quantiles

SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_different_lengths(dtype: torch.dtype) -> None:
    """Filled up to one length, a short row does not see what it is filled with."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(size, generator=generator, dtype=dtype) for size in (1, 2, 7, 1024, 300)]
    found = quantiles(rows, SHARES)
    for row, own in zip(rows, found, strict=True):
        torch.testing.assert_close(own, torch.quantile(row, torch.tensor(SHARES, dtype=dtype)))


def test_nan_stays_in_its_row() -> None:
    """A row with a NaN has no quantiles, also where it is the shorter one; the rows given stay as they are."""
    rows = [torch.tensor([3.0, math.nan]), torch.tensor([4.0, 2.0, 3.0]), torch.tensor([1.0, math.nan, 2.0])]
    found = quantiles(rows, (0.0, 0.5))
    assert found[1].tolist() == [2.0, 3.0]
    assert found[1].isfinite().all()
    assert found[[0, 2]].isnan().all()
    assert rows[1].tolist() == [4.0, 2.0, 3.0]
