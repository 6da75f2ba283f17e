"""Sums over the samples of a batch, unit by unit."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

_RUNS: Final = 16
_LARGE: Final = 2**17
_TOGETHER: Final = 2**18
_PIECE: Final = 2**17
_KEPT: Final = 2**22
_COUNTABLE: Final = 2**24


def wide(dtype: torch.dtype) -> torch.dtype:
    """The precision that values of this one are added up in: float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def column_sums(matrices: Sequence[Float[Tensor, "sample unit"]]) -> Float[Tensor, "matrix unit"]:
    """Sums over the samples of matrices of one shape and precision."""
    return _summed(matrices, lambda matrix: matrix)


def absolute_sums(matrices: Sequence[Float[Tensor, "sample unit"]]) -> Float[Tensor, "matrix unit"]:
    """Sums over the samples of the sizes in matrices of one shape and precision."""
    return _sums_of(matrices, lambda matrix, room: torch.abs(matrix, out=room), matrices[0].dtype)


def counts(
    matrices: Sequence[Float[Tensor, "sample unit"]], holds: Callable[..., Tensor], bound: float
) -> Float[Tensor, "matrix unit"]:
    """On how many samples a comparison holds, in matrices of one shape and precision; exact."""
    if len(matrices[0]) >= _COUNTABLE:
        return torch.stack([holds(matrix, bound).sum(dim=0) for matrix in matrices])
    # Booleans are slow to count: the comparison writes numbers.
    return _sums_of(matrices, lambda matrix, room: holds(matrix, bound, out=room), torch.float32)


def _sums_of(matrices: Sequence[Tensor], write: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> Tensor:
    samples, units = matrices[0].shape
    if len(matrices) * samples * units <= _TOGETHER:
        whole, rooms = room(len(matrices), samples, units, dtype, matrices[0].device)
        for matrix, own in zip(matrices, rooms, strict=True):
            write(matrix.detach(), own)
        return whole.sum(dim=1, dtype=wide(dtype))
    if not matrices[0].is_cpu:
        return _summed(matrices, lambda matrix: write(matrix.detach(), torch.empty_like(matrix, dtype=dtype)))
    # What is written stays in the cache until it is summed.
    length = min(samples, max(1, _PIECE // units))
    _, (own,) = room(1, length, units, dtype, matrices[0].device)
    pieces = [
        [write(piece, own[: len(piece)]).sum(dim=0, dtype=wide(dtype)) for piece in matrix.detach().split(length)]
        for matrix in matrices
    ]
    return torch.stack([torch.stack(sums).sum(dim=0) for sums in pieces])


def _summed(matrices: Sequence[Tensor], read: Callable[[Tensor], Tensor]) -> Tensor:
    samples, units = matrices[0].shape
    if samples % _RUNS or samples * units < _LARGE:
        return torch.stack([read(matrix).sum(dim=0, dtype=wide(matrix.dtype)) for matrix in matrices])
    # Each core adds up the rows that it holds in its cache; summing all rows at once would fetch half from the other.
    runs = [read(matrix).unflatten(0, (_RUNS, -1)).sum(dim=1, dtype=wide(matrix.dtype)) for matrix in matrices]
    return torch.stack(runs).sum(dim=1)


class _Kept(threading.local):
    """Memory that is written to again and again, and never handed out: fresh memory costs as much as the sums."""

    def __init__(self) -> None:
        self.flat: dict[torch.dtype, Tensor] = {}
        self.shaped: dict[tuple[torch.Size, torch.dtype], Tensor] = {}
        self.cut: dict[torch.dtype, tuple[tuple[int, int, int], Tensor, tuple[Tensor, ...]]] = {}

    def of(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """As much of it as a tensor of that shape takes."""
        size = math.prod(shape)
        # Memory of a mode without gradients could not be written to outside of it.
        with torch.inference_mode(mode=False):
            flat = self.flat.get(dtype)
            if flat is None or flat.numel() < size:
                flat = self.flat[dtype] = torch.empty(size, dtype=dtype)
                self.shaped.clear()
            return flat[:size].view(shape)


_kept: Final = _Kept()


def room(
    count: int, samples: int, units: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Room for some matrices, as one tensor and one by one; the next call of this thread gives it to somebody else."""
    shape = (count, samples, units)
    size = count * samples * units
    if device.type != "cpu" or size > _KEPT:
        whole = torch.empty(shape, dtype=dtype, device=device)
        return whole, whole.unbind()
    known = _kept.cut.get(dtype)
    if known is None or known[0] != shape:
        with torch.inference_mode(mode=False):
            whole = _kept.of(shape, dtype)
            known = _kept.cut[dtype] = shape, whole, whole.unbind()
    return known[1:]


def room_like(tensor: Tensor) -> Tensor | None:
    """Room for as many numbers, shaped alike; None where it is no help, or gradients follow."""
    if not tensor.is_cpu or tensor.requires_grad or tensor.numel() > _KEPT:
        return None
    key = tensor.shape, tensor.dtype
    found = _kept.shaped.get(key)
    if found is None:
        found = _kept.shaped[key] = _kept.of(*key)
    return found
