"""Singular values of feature matrices, several of one shape at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.columns import room

_TOGETHER: Final = 2**20
_BLOCK: Final = 128


def spectra(matrices: Sequence[Float[Tensor, "sample unit"]]) -> tuple[Tensor, Tensor]:
    """Of matrices of one shape: singular values, [matrix, rank]; trace and norm of the centred Gram, [matrix, 2]."""
    samples, units = matrices[0].shape
    if len(matrices) > 1 and len(matrices) * samples * units > _TOGETHER:
        of_each = [spectra([matrix]) for matrix in matrices]
        return torch.cat([sigma for sigma, _ in of_each]), torch.cat([moments for _, moments in of_each])
    # Centring first keeps what varies apart from a large mean; adding the mean back costs no precision.
    rest, mean = centred(matrices)
    gram = smaller_gram(rest)
    moments = moments_of(gram)
    # 0, and NaN where any feature is not finite: asking whether all are would wait for the device.
    unknown = moments[:, :1] * 0
    if matrices[0].dtype == torch.float64:
        wide = torch.where((unknown == 0)[..., None], torch.stack([matrix.detach() for matrix in matrices]), 0.0)
        return torch.linalg.svdvals(wide) + unknown, moments
    if units <= samples:
        gram.baddbmm_(mean.mT, mean, alpha=samples)
    else:
        shift = rest @ mean.mT + mean.square().sum(dim=-1, keepdim=True) / 2
        gram.add_(shift).add_(shift.mT)
    # eigvalsh raises on NaN.
    gram.masked_fill_((unknown != 0)[..., None], 0.0)
    eigenvalues = torch.linalg.eigvalsh(gram, UPLO="U").flip(-1)
    noise = eigenvalues[:, :1] * (gram.shape[-1] * torch.finfo(torch.float64).eps)
    return torch.where(eigenvalues > noise, eigenvalues, 0.0).sqrt() + unknown, moments


def centred(matrices: Sequence[Tensor]) -> tuple[Float[Tensor, "matrix sample unit"], Float[Tensor, "matrix 1 unit"]]:
    """The matrices without their means over the samples, in memory that the next call writes to; and the means."""
    samples, units = matrices[0].shape
    # There is no float64 on Apple's devices.
    device = torch.device("cpu") if matrices[0].device.type == "mps" else matrices[0].device
    wide, rows = room(len(matrices), samples, units, torch.float64, device)
    for matrix, row in zip(matrices, rows, strict=True):
        row.copy_(matrix.detach())
    mean = wide.sum(dim=1, keepdim=True) / samples
    return wide.sub_(mean), mean


def smaller_gram(wide: Float[Tensor, "matrix sample unit"]) -> Float[Tensor, "matrix side side"]:
    """The Gram matrix of the samples or of the units, whichever are fewer; its upper triangle, with zeros below."""
    samples, units = wide.shape[1:]
    rows = wide.mT if units <= samples else wide
    side = rows.shape[1]
    if not wide.is_cpu or side <= _BLOCK:
        return (rows @ rows.mT).triu_()
    gram = wide.new_empty(len(rows), side, side)
    # Of a symmetric matrix the half above the diagonal is enough.
    for start in range(0, side, _BLOCK):
        own = slice(start, start + _BLOCK)
        for whole, product in zip(rows, gram, strict=True):
            torch.mm(whole[: own.stop], whole[own].mT, out=product[: own.stop, own])
    return gram.triu_()


def moments_of(gram: Float[Tensor, "matrix side side"]) -> Float[Tensor, "matrix 2"]:
    """Trace and Frobenius norm, from the upper triangle with zeros below."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.mean(dim=-1) * gram.shape[-1]
    above = torch.linalg.vector_norm(gram, dim=(-2, -1)) * math.sqrt(2)
    # Both halves, less the diagonal that was counted twice.
    own = torch.linalg.vector_norm(diagonal, dim=-1) / above.masked_fill(above == 0, 1.0)
    return torch.stack([trace, above * (1 - own.square()).sqrt()], dim=-1)
