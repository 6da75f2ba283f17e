"""How much a weight can stretch what goes through it, and over how many directions its size is spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.entries import stacked
from plastikit.probes.krylov import FOLLOWED, TOLERANCE, Pair, generic, is_settled, sought, start_of
from plastikit.schema import PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

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
    return _measured([matrices], [None])[0][0, 0]


def weight_stable_rank(weight: Float[Tensor, "..."], *, is_stack: bool = False) -> Float[Tensor, ""]:
    """Squared Frobenius norm over squared spectral norm: over how many directions a weight's size is spread.

    A stack of matrices counts as one block-diagonal matrix: all of its size over its largest singular value.

    Range: [1, rank].  NaN: a weight of zeros; any non-finite entry.  Cost: that of ``spectral_norm``.

    >>> weight_stable_rank(torch.eye(3))
    tensor(3.)
    """
    matrices = _matrices(weight, is_stack=is_stack)
    return _measured([matrices], [None])[0][1, 0]


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
        known = [self._kept.get((capture.network, name)) for name in names]
        # A checkpoint can have been read to the host: what goes on from it lies there.
        kept = [None if each is None else each.to(matrix.device) for matrix, each in zip(matrices, known, strict=True)]
        values, vectors = _measured(matrices, kept)
        for name, found in zip(names, vectors, strict=True):
            if found is None:
                self._kept.pop((capture.network, name), None)
            else:
                # As a tensor of its own: what a checkpoint gives back lies no otherwise.
                self._kept[capture.network, name] = found.contiguous()
        return {"spectral_norm": Rows(names, values[0]), "weight_stable_rank": Rows(names, values[1])}

    def state_dict(self) -> dict[str, Any]:
        """The vectors that the iteration goes on from: network -> weight -> vectors."""
        state: dict[str, dict[str, Tensor]] = {}
        for (network, name), vectors in self._kept.items():
            state.setdefault(network, {})[name] = vectors
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from these vectors, as the training does that they were saved with."""
        self._kept.clear()
        self._kept.update({(network, name): kept for network, each in state.items() for name, kept in each.items()})


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
) -> tuple[Float[Tensor, "2 weight"], list[Tensor | None]]:
    """Spectral norms and stable ranks, and the vectors to go on from; the device is asked once for all."""
    # Row by row, since a long run of single precision rounds off more and more.
    rows = [torch.linalg.vector_norm(matrix, dim=2).reshape(-1) for matrix in matrices]
    sizes = stacked([torch.linalg.vector_norm(row) for row in rows])
    pairs = _advanced(matrices, kept)
    evidence = [torch.empty(0) if pair.evidence is None else pair.evidence.reshape(-1) for pair in pairs]
    asked = torch.cat([sizes, *(each.to(sizes) for each in evidence)]).tolist()
    tops: list[Tensor] = []
    vectors: list[Tensor | None] = []
    place = len(sizes)
    for matrix, pair, size, own in zip(matrices, pairs, asked, evidence, strict=False):
        if not math.isfinite(size) or not matrix.numel():
            tops.append(torch.full((), torch.nan, device=sizes.device))
            vectors.append(None)
        else:
            is_enough = len(own) and is_settled(asked[place : place + len(own)], of=len(matrix))
            found = pair if is_enough else sought(matrix, pair)
            tops.append(found.square.max())
            vectors.append(found.vectors)
        place += len(own)
    top = stacked(tops)
    return torch.stack([top.sqrt(), sizes.square() / top.masked_fill(top == 0, torch.nan)]), vectors


def _advanced(matrices: Sequence[Tensor], kept: Sequence[Tensor | None]) -> list[Pair]:
    """One step of the power iteration from the vectors of the last record, and whether that is enough.

    The products with each weight are its own; what is done with them is done for all weights of a kind at once.
    """
    pairs: dict[int, Pair] = {}
    alike: dict[tuple[torch.dtype, torch.device], dict[int, tuple[Tensor, Tensor]]] = {}
    for place, (matrix, known) in enumerate(zip(matrices, kept, strict=True)):
        shape = (matrix.shape[0], FOLLOWED + 1, matrix.shape[2])
        if known is None or known.shape != shape or known.dtype != matrix.dtype:
            pairs[place] = Pair(start_of(generic(matrix)), matrix.new_zeros(len(matrix)), None)
        else:
            alike.setdefault((matrix.dtype, matrix.device), {})[place] = matrix, known
    for known_ones in alike.values():
        pairs |= zip(known_ones, _followed(list(known_ones.values())), strict=True)
    return [pairs[place] for place in range(len(matrices))]


def _followed(known: Sequence[tuple[Tensor, Tensor]]) -> list[Pair]:
    counts, shorts = [len(matrix) for matrix, _ in known], [matrix.shape[2] for matrix, _ in known]
    before = _filled_up([vectors for _, vectors in known], max(shorts))
    images = [vectors @ matrix.mT for matrix, vectors in known]
    returned = _filled_up([image @ matrix for image, (matrix, _) in zip(images, known, strict=True)], max(shorts))
    squares = torch.cat([torch.linalg.vector_norm(image, dim=2) for image in images]).square()
    residual = torch.linalg.vector_norm(returned[:, 0] - squares[:, :1] * before[:, 0], dim=1, keepdim=True)
    evidence = torch.cat([residual, squares], dim=1)
    # A part of the generic vector lets the last of the others find a direction that grew from nothing.
    returned[:, -2] += 0.3 * returned[:, -1]
    basis = torch.linalg.qr(returned[:, :-1].mT).Q.mT
    vectors = start_of(basis, before[:, -1:])
    parts = zip(vectors.split(counts), squares[:, 0].split(counts), evidence.split(counts), shorts, strict=True)
    return [Pair(own[..., :short], square, told) for own, square, told, short in parts]


def _filled_up(rows: Sequence[Float[Tensor, "stack row short"]], length: int) -> Float[Tensor, "all row length"]:
    """One after the other, with zeros behind those that are shorter."""
    filled = rows[0].new_zeros(sum(map(len, rows)), rows[0].shape[1], length)
    place = 0
    for own in rows:
        filled[place : place + len(own), :, : own.shape[2]] = own
        place += len(own)
    return filled
