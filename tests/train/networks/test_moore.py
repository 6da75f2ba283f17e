"""Experts made orthogonal."""

from __future__ import annotations

import torch

from plastikit.train.networks.moore import orthogonal


def test_scaled_vectors_are_orthonormal_and_span_the_same() -> None:
    """Per row, products of two different vectors vanish, lengths are 1, and nothing of the given ones is lost."""
    given = [torch.randn(5, 8, dtype=torch.float64) for _ in range(4)]
    rests, scales = orthogonal(given)
    basis = torch.stack([rest * scale for rest, scale in zip(rests, scales, strict=True)], dim=1)
    products = basis @ basis.mT
    torch.testing.assert_close(products, torch.eye(4, dtype=torch.float64).expand(5, 4, 4), atol=1e-7, rtol=0.0)
    stacked = torch.stack(given, dim=1)
    torch.testing.assert_close(stacked @ basis.mT @ basis, stacked, atol=1e-6, rtol=0.0)


def test_the_first_vector_keeps_its_direction() -> None:
    """Those behind it give way."""
    first, second = torch.tensor([[0.0, 3.0]]), torch.tensor([[5.0, 4.0]])
    rests, scales = orthogonal([first, second])
    assert torch.equal(rests[0], first)
    torch.testing.assert_close(rests[1] * scales[1], torch.tensor([[1.0, 0.0]]))


def test_silent_experts_give_zeros_and_finite_gradients() -> None:
    """A vector of zeros stays one, and nothing becomes NaN on the way back."""
    silent = torch.zeros(1, 3, requires_grad=True)
    rests, scales = orthogonal([silent, torch.tensor([[1.0, 2.0, 2.0]])])
    assert torch.equal(rests[0] * scales[0], torch.zeros(1, 3))
    (rests[1] * scales[1]).sum().backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_bfloat16_around_it_leaves_them_orthogonal() -> None:
    """Inside autocast vectors that were rounded are made as orthogonal as float32 makes them."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(100, 64, generator=generator).bfloat16() for _ in range(4)]
    with torch.autocast("cpu", torch.bfloat16):
        rests, scales = orthogonal(given)
    basis = torch.stack([rest * scale for rest, scale in zip(rests, scales, strict=True)], dim=1).double()
    torch.testing.assert_close(basis @ basis.mT, torch.eye(4).double().expand(100, 4, 4), atol=1e-5, rtol=0.0)
