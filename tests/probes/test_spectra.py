"""Singular values of several matrices at once are those of each by itself."""

from __future__ import annotations

import pytest
import torch

from plastikit.probes import effective_rank
from plastikit.probes.spectra import spectra


@pytest.mark.parametrize("shape", [(9, 31), (64, 20), (1200, 300), (130, 200)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_together_as_apart(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Whether they are decomposed at once, as small ones are, or one after the other; a spoiled one spoils no other."""
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(shape, generator=generator, dtype=dtype).relu() for _ in range(3)]
    matrices[1][0, 0] = torch.nan
    sigma, moments = spectra(matrices)
    assert sigma[1].isnan().all()
    assert moments[1].isnan().all()
    for row in (0, 2):
        torch.testing.assert_close(sigma[row], torch.linalg.svdvals(matrices[row].double()))
        centred = matrices[row].double() - matrices[row].double().mean(dim=0)
        expected = torch.stack([centred.square().sum(), (centred.T @ centred).norm()])
        torch.testing.assert_close(moments[row], expected)


def test_values_outlive_the_next_call() -> None:
    """What was handed out is not written over by what is measured later."""
    first, _ = spectra([torch.eye(4)])
    spectra([torch.zeros(4, 4)])
    torch.testing.assert_close(first, torch.ones(1, 4, dtype=torch.float64))


def test_features_that_track_gradients() -> None:
    """They are measured, and later ones do not track gradients for it."""
    assert not effective_rank(torch.eye(4, requires_grad=True) * 2).requires_grad
    assert not effective_rank(torch.eye(4)).requires_grad
