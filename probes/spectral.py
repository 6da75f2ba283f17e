"""How much a weight can stretch what goes through it, and over how many directions its size is spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

TOLERANCE: Final = 1e-5
"""Largest relative error of a spectral norm, as its residual tells it."""

_READ_AS: Final = (
    "A kernel [out, in, ...] is read as the matrix out × (in · ...); a stack of matrices as one block-diagonal matrix."
)
_PITFALLS: Final = (
    "Of a convolution this is the norm of the kernel's matrix, not of the operation, which depends on the size of the "
    "image. A weight of three dimensions counts as a kernel unless stacks names it. Followed from record to record: a "
    "direction at right angles to all that was large before is found some records after it grew from nothing"
)
_COST: Final = (
    "two products of each weight with four vectors; at the first record, and after a sudden change, about a hundred"
)
_FOLLOWED: Final = 3
"""Singular vectors that are followed: those behind the first show when one overtakes it."""
_BASIS: Final = 48
"""Vectors of a Krylov space: enough for a random square matrix of some thousand rows."""
_RESTARTS: Final = 3


class _Pair(NamedTuple):
    """Guesses at the first right singular vectors of each matrix of a stack and a generic one, as rows."""

    vectors: Tensor
    square: Tensor
    is_settled: Tensor


def spectral_norm(weight: Float[Tensor, "..."], *, is_stack: bool = False) -> Float[Tensor, ""]:
    """Largest singular value of a weight: the most that it can stretch what goes through it.

    A weight of more than two dimensions is read as one matrix, its first dimension against all others, as for the
    kernel of a convolution, where it bounds the stretch up to a factor of the kernel's size. With ``is_stack`` it is
    read as a stack of matrices, such as one head per task, and the largest of them counts.

    Range: [0, ∞), between the Frobenius norm over the root of the rank and the Frobenius norm.
    NaN: any non-finite entry; a weight without entries.
    Cost: about twice 50 products of the weight with a vector; it asks the device once whether they were enough.

    >>> spectral_norm(torch.diag(torch.tensor([3.0, 1.0])))
    tensor(3.)
    """
    matrices = _matrices(weight, is_stack=is_stack)
    return _measured([matrices], [None])[0][0][0]


def weight_stable_rank(weight: Float[Tensor, "..."], *, is_stack: bool = False) -> Float[Tensor, ""]:
    """Squared Frobenius norm over squared spectral norm: over how many directions a weight's size is spread.

    A stack of matrices counts as one block-diagonal matrix: all of its size over its largest singular value.

    Range: [1, rank].  NaN: a weight of zeros; any non-finite entry.  Cost: that of ``spectral_norm``.

    >>> weight_stable_rank(torch.eye(3))
    tensor(3.)
    """
    matrices = _matrices(weight, is_stack=is_stack)
    return _measured([matrices], [None])[0][0][1]


@dataclass(frozen=True)
class SpectralNorm:
    """Spectral norm and stable rank of each weight, by power iteration that goes on from record to record."""

    stacks: Sequence[str] = ()
    """Names or patterns of weights that are stacks of matrices, [stack, in, out], such as one head per task."""
    _kept: dict[tuple[str, str], Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    name = "spectral"
    tier = Tier.PERIODIC
    needs = Needs.PARAMETERS

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the two variables."""
        constants = {"tolerance": TOLERANCE} | ({"stacks": ", ".join(self.stacks)} if self.stacks else {})
        return (
            Definition(
                variable="spectral_norm",
                id="spectral_norm/power_iteration",
                long_name="spectral norm",
                units="weight",
                dims=(PARAMETER,),
                description=f"Largest singular value of a weight. {_READ_AS}",
                valid_range="[0, inf)",
                pitfalls=_PITFALLS,
                reference="",
                cost=_COST,
                parameters=constants,
            ),
            Definition(
                variable="weight_stable_rank",
                id="weight_stable_rank/frobenius_over_spectral",
                long_name="stable rank of the weight",
                units="1",
                dims=(PARAMETER,),
                description=f"Squared Frobenius norm of a weight over its squared spectral norm. {_READ_AS}",
                valid_range="[1, rank]",
                pitfalls=_PITFALLS,
                reference="",
                cost=_COST,
                parameters=constants,
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every weight; biases and gains are no matrices and are left out."""
        names = [name for name, weight in capture.parameters.items() if name in capture.weights and _is_matrix(weight)]
        if not names:
            return {}
        stacked = [any(fnmatchcase(name, pattern) for pattern in self.stacks) for name in names]
        matrices = [
            _matrices(capture.parameters[name], is_stack=flag) for name, flag in zip(names, stacked, strict=True)
        ]
        kept = [self._kept.get((capture.network, name)) for name in names]
        values, vectors = _measured(matrices, kept)
        for name, found in zip(names, vectors, strict=True):
            if found is None:
                self._kept.pop((capture.network, name), None)
            else:
                self._kept[capture.network, name] = found
        return {
            "spectral_norm": {name: value for name, (value, _) in zip(names, values, strict=True)},
            "weight_stable_rank": {name: rank for name, (_, rank) in zip(names, values, strict=True)},
        }


def _is_matrix(weight: Tensor) -> bool:
    return weight.ndim >= 2 and weight.numel() > 0 and not weight.is_complex()


def _matrices(weight: Tensor, *, is_stack: bool) -> Float[Tensor, "stack long short"]:
    """The weight as matrices with no more columns than rows, in single precision at least."""
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if wide.ndim < 2:
        wide = wide.reshape(1, -1)
    matrices = wide.flatten(0, -3) if is_stack and wide.ndim > 2 else wide.flatten(1)[None]
    return matrices if matrices.shape[1] >= matrices.shape[2] else matrices.mT


def _measured(
    matrices: Sequence[Tensor], kept: Sequence[Tensor | None]
) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor | None]]:
    """Spectral norm and stable rank of each, and the vectors to go on from; the device is asked once for all."""
    sizes = [matrix.square().sum(dim=(1, 2)) for matrix in matrices]
    pairs = [_advanced(matrix, before) for matrix, before in zip(matrices, kept, strict=True)]
    flags = [
        torch.stack([pair.is_settled.all(), size.isfinite().all()]).to(matrices[0].device)
        for pair, size in zip(pairs, sizes, strict=True)
    ]
    values: list[tuple[Tensor, Tensor]] = []
    vectors: list[Tensor | None] = []
    for matrix, size, pair, (is_settled, is_finite) in zip(
        matrices, sizes, pairs, torch.stack(flags).tolist(), strict=True
    ):
        if not is_finite or not matrix.numel():
            nothing = torch.full((), torch.nan, device=matrix.device)
            values.append((nothing, nothing))
            vectors.append(None)
            continue
        found = pair if is_settled else _sought(matrix, pair.vectors)
        top = found.square.max()
        values.append((top.sqrt(), size.sum() / top.masked_fill(top == 0, torch.nan)))
        vectors.append(found.vectors)
    return values, vectors


def _advanced(matrix: Tensor, kept: Tensor | None) -> _Pair:
    """One step of the power iteration from the vectors of the last record, and whether that is enough."""
    stack, _, short = matrix.shape
    if (
        kept is None
        or kept.shape != (stack, _FOLLOWED + 1, short)
        or (kept.dtype, kept.device) != (matrix.dtype, matrix.device)
    ):
        start = _start(_generic(matrix))
        return _Pair(start, matrix.new_zeros(stack), torch.zeros(stack, dtype=torch.bool, device=matrix.device))
    image = kept @ matrix.mT
    squares = torch.linalg.vector_norm(image, dim=2).square()
    returned = image @ matrix
    is_settled = _is_settled(returned[:, 0] - squares[:, :1] * kept[:, 0], squares)
    # A part of the generic vector lets the last of the others find a direction that grew from nothing.
    returned[:, -2] += 0.3 * returned[:, -1]
    basis = torch.linalg.qr(returned[:, :-1].mT).Q.mT
    return _Pair(_start(basis, kept[:, -1:]), squares[:, 0], is_settled)


def _sought(matrix: Tensor, start: Tensor) -> _Pair:
    """The first singular vectors from a Krylov space over ``start``; from a decomposition where it is too small."""
    vectors = start
    for _ in range(_RESTARTS):
        pair = _ritz(matrix, vectors)
        if bool(pair.is_settled.all()):
            return pair
        vectors = pair.vectors
    squares, vectors = torch.linalg.eigh(matrix.double().mT @ matrix.double())
    top = _start(vectors.mT.flip(1)[:, :_FOLLOWED].to(matrix.dtype), start[:, -1:])
    return _Pair(top, squares[:, -1].to(matrix.dtype), torch.ones_like(squares[:, -1], dtype=torch.bool))


def _ritz(matrix: Tensor, start: Tensor) -> _Pair:
    """Best guesses from the space that repeated products with the matrix span, each new vector made orthogonal."""
    vector = _unit(start.sum(dim=1, keepdim=True))
    count = min(_BASIS, matrix.shape[2])
    basis = matrix.new_zeros(matrix.shape[0], count, matrix.shape[2])
    images = torch.zeros_like(basis)
    for k in range(count):
        basis[:, k : k + 1] = vector
        image = vector @ matrix.mT @ matrix
        images[:, k : k + 1] = image
        for _ in range(2):
            image = image - image @ basis.mT @ basis
        vector = _unit(image)
    squares, turns = torch.linalg.eigh(images @ basis.mT)
    squares, turns = squares.flip(-1), turns.flip(-1)[..., :_FOLLOWED].mT
    vectors = turns @ basis
    residual = (turns[:, :1] @ images - squares[:, :1, None] * vectors[:, :1])[:, 0]
    return _Pair(_start(vectors, start[:, -1:]), squares[:, 0].clamp(min=0), _is_settled(residual, squares))


def _is_settled(residual: Tensor, squares: Tensor) -> Tensor:
    """Whether the first of ``squares``, guesses at the squared singular values, is right to the tolerance.

    Some squared singular value lies within the residual's norm of the guess, and where the gap to the next is wider
    than that norm, within its square over the gap.
    """
    norm, top = torch.linalg.vector_norm(residual, dim=1), squares[:, 0]
    gap = top - squares[:, 1:].amax(dim=1) if squares.shape[1] > 1 else top
    error = torch.where(gap > norm, norm.square() / gap, norm)
    return (gap >= 0) & (error <= 2 * TOLERANCE * top)


def _generic(matrix: Tensor) -> Tensor:
    """A vector without structure, the same each time: one that no weight is likely to be orthogonal to."""
    place = torch.arange(1, matrix.shape[2] + 1, device=matrix.device, dtype=torch.float64)
    wave = torch.sin(place.square() * 0.7548776662466927)[None]
    return _unit(wave).to(matrix.dtype).expand(matrix.shape[0], 1, -1)


def _start(vectors: Tensor, generic: Tensor | None = None) -> Tensor:
    """What the next record goes on from: the first singular vectors as far as known, and a generic one."""
    generic = vectors[:, :1] if generic is None else generic
    # A matrix of one column has one singular vector: the others are nothing.
    missing = torch.zeros_like(generic).expand(-1, _FOLLOWED - vectors.shape[1], -1)
    return torch.cat([vectors, missing, generic], dim=1)


def _unit(vector: Tensor) -> Tensor:
    """Of length 1; nothing where there is nothing, as when a space is used up."""
    norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    unit: Tensor = vector / norm.masked_fill(norm == 0, torch.inf)
    return unit
