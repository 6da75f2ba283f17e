"""The first singular vectors of matrices, found in a Krylov space and followed from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

TOLERANCE: Final = 1e-5
"""Largest relative error of a spectral norm, as its residual tells it."""

FOLLOWED: Final = 3
"""Singular vectors that are followed: those behind the first show when one overtakes it."""
_BASIS: Final = 48
"""Vectors of a Krylov space: enough for a random square matrix of some thousand rows."""
_RESTARTS: Final = 3
_CHECKED: Final = (8, 16, 32)
"""Sizes of the space at which vectors that were followed are asked whether they are found again."""


class Pair(NamedTuple):
    """Guesses at the first right singular vectors of each matrix of a stack and a generic one, as rows."""

    vectors: Tensor
    square: Tensor
    evidence: Tensor | None
    """The norm of each first guess's residual, and the squares of all that are followed; None where nothing was."""


def sought(matrix: Tensor, known: Pair) -> Pair:
    """The first singular vectors from a Krylov space over those known; from a decomposition where it is too small."""
    vectors, is_new = known.vectors, known.evidence is None
    for _ in range(_RESTARTS):
        pair, is_found = _ritz(matrix, vectors, is_new=is_new)
        if is_found:
            return pair
        vectors, is_new = pair.vectors, True
    squares, vectors = torch.linalg.eigh(matrix.double().mT @ matrix.double())
    top = start_of(vectors.mT.flip(1)[:, :FOLLOWED].to(matrix.dtype), known.vectors[:, -1:])
    return Pair(top, squares[:, -1].to(matrix.dtype), None)


def _ritz(matrix: Tensor, start: Tensor, *, is_new: bool) -> tuple[Pair, bool]:
    """Best guesses from the space that repeated products with the matrix span, each new vector made orthogonal.

    Vectors that were followed begin it one by one, and are soon found again; new ones begin it as their sum, which
    leads further.
    """
    first = start.sum(dim=1, keepdim=True) if is_new else start
    width = first.shape[1]
    count = min(_BASIS, matrix.shape[2])
    basis = matrix.new_zeros(matrix.shape[0], count, matrix.shape[2])
    images = torch.zeros_like(basis)
    for k in range(count):
        vector = first[:, k : k + 1] if k < width else images[:, k - width : k - width + 1]
        known = basis[:, :k]
        for _ in range(2):
            # On a device each call counts, and ``@`` looks at the shapes with some more.
            vector = _unit(vector - torch.bmm(torch.bmm(vector, known.mT), known))
        basis[:, k : k + 1] = vector
        images[:, k : k + 1] = torch.bmm(torch.bmm(vector, matrix.mT), matrix)
        if k + 1 in _CHECKED and not is_new:
            pair, is_found = _best(basis[:, : k + 1], images[:, : k + 1], start)
            if is_found:
                return pair, True
    return _best(basis, images, start)


def _best(basis: Tensor, images: Tensor, start: Tensor) -> tuple[Pair, bool]:
    """The guesses that a space offers, and whether they are good enough; it asks the device."""
    squares, turns = torch.linalg.eigh(images @ basis.mT)
    squares, turns = squares.flip(-1), turns.flip(-1)[..., :FOLLOWED].mT
    vectors = turns @ basis
    residual = turns[:, :1] @ images - squares[:, :1, None] * vectors[:, :1]
    evidence = torch.cat([torch.linalg.vector_norm(residual, dim=2), squares], dim=1)
    pair = Pair(start_of(vectors, start[:, -1:]), squares[:, 0].clamp(min=0), evidence)
    return pair, is_settled(evidence.reshape(-1).tolist(), of=len(basis))


def is_settled(evidence: Sequence[float], *, of: int) -> bool:
    """Whether the first guess at a squared singular value is right to the tolerance, for each ``of`` the matrices.

    Some squared singular value lies within the residual's norm of the guess, and where the gap to the next is wider
    than that norm, within its square over the gap.
    """
    length = len(evidence) // of
    for start in range(0, len(evidence), length):
        norm, top, *others = evidence[start : start + length]
        gap = top - max(others, default=0.0)
        error = norm * norm / gap if gap > norm else norm
        # What is not a number is never settled.
        if not (gap >= 0 and error <= 2 * TOLERANCE * top):
            return False
    return True


def generic(matrix: Tensor) -> Tensor:
    """A vector without structure, the same each time: one that no weight is likely to be orthogonal to."""
    place = torch.arange(1, matrix.shape[2] + 1, device=matrix.device, dtype=torch.float64)
    wave = torch.sin(place.square() * 0.7548776662466927)[None]
    return _unit(wave).to(matrix.dtype).expand(matrix.shape[0], 1, -1)


def start_of(vectors: Tensor, generic: Tensor | None = None) -> Tensor:
    """What the next record goes on from: the first singular vectors as far as known, and a generic one."""
    generic = vectors[:, :1] if generic is None else generic
    # A matrix of one column has one singular vector: the others are nothing.
    missing = torch.zeros_like(generic).expand(-1, FOLLOWED - vectors.shape[1], -1)
    return torch.cat([vectors, missing, generic], dim=1)


def _unit(vector: Tensor) -> Tensor:
    """Of length 1; nothing where there is nothing, as when a space is used up."""
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    unit: Tensor = vector / norm.masked_fill(norm == 0, torch.inf)
    return unit
