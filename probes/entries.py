"""The entries of parameters as rows that one operation measures at once: a call for each small tensor adds up."""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plastikit.probes.columns import room_like

ROW: Final = 512
"""Entries of a row where tensors share a block; each begins on a row of its own, and zeros fill its last one up."""
SMALL: Final = 1 << 14
"""Entries from which on a tensor is a block of its own, measured where it lies."""
RUN: Final = 1 << 18
"""Entries that are added up in one go where a tensor is no rows."""
MOST: Final = 1 << 20
"""Entries that a shared block has room for."""

_LAYOUTS: Final = 32
_NARROW: Final = frozenset({torch.float16, torch.bfloat16})
_HOST: Final = torch.device("cpu")
_WIDE: Final = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def in_order(tensors: Mapping[str, Tensor], weights: Collection[str]) -> list[str]:
    """The names, those of weights first, and small tensors side by side."""

    def place(name: str) -> int:
        is_small = tensors[name].numel() < SMALL
        return int(is_small) if name in weights else 3 - is_small

    return sorted(tensors, key=place)


class Blocks:
    """Tensors in order, cut into blocks of rows, [row, entry]: one for all that are small, one for each other."""

    def __init__(self, tensors: Sequence[Tensor], *others: Sequence[Tensor]) -> None:
        """``others`` are tensors of the same shapes that are to be cut alike."""
        small = [place for place, tensor in enumerate(tensors) if tensor.numel() < SMALL]
        self._shared = slice(small[0], small[-1] + 1) if small else slice(0, 0)
        run = [tensor for each in (tensors, *others) for tensor in each[self._shared]]
        wide = {_WIDE.get(tensor.dtype) for tensor in run}
        self._room: _Room | None = None
        if len(wide) == 1 and len(small) == self._shared.stop - self._shared.start and all(map(_is_plain, run)):
            self._room = _room(tuple(tensor.shape for tensor in tensors[self._shared]), wide.pop())
        rows = [_rows_of(tensor) for tensor in tensors]
        if self._room is not None:
            rows[self._shared] = self._room.rows
        self._rows = tuple(rows)
        self._is_whole = sum(rows) == len(rows)

    def of(self, tensors: Sequence[Tensor], *, side: int = 0) -> Iterator[Float[Tensor, "row entry"]]:
        """The blocks of ``tensors``; a shared one stays until another of the same side takes its place."""
        place = 0
        while place < len(tensors):
            if place == self._shared.start and self._room is not None:
                yield self._room.filled(tensors[self._shared], side)
                place = self._shared.stop
            else:
                tensor = tensors[place]
                yield tensor.to(torch.promote_types(tensor.dtype, torch.float32)).reshape(_rows_of(tensor), -1)
                place += 1

    def sums(self, of_rows: Sequence[Float[Tensor, "row"]]) -> Float[Tensor, "tensor"]:
        """Sums over the rows of each tensor, from what was measured of each block."""
        values = _joined(of_rows)
        if self._is_whole:
            return values
        return torch.segment_reduce(values, "sum", lengths=_lengths(self._rows, values.device), unsafe=True)

    def norms(self, of_rows: Sequence[Float[Tensor, "row"]]) -> Float[Tensor, "tensor"]:
        """The norm of each tensor, from the norms of its rows."""
        values = _joined(of_rows)
        if self._is_whole:
            return values
        # Norms whose squares are too large for their own precision stay finite.
        values = values.to(torch.float64)
        return torch.segment_reduce(
            values * values, "sum", lengths=_lengths(self._rows, values.device), unsafe=True
        ).sqrt_()

    def largest(self, of_rows: Sequence[Float[Tensor, "row"]]) -> Float[Tensor, "tensor"]:
        """The largest over the rows of each tensor."""
        values = _joined(of_rows)
        if self._is_whole:
            return values
        return torch.segment_reduce(values, "max", lengths=_lengths(self._rows, values.device), unsafe=True)


class _Room:
    """Where small tensors of given shapes lie side by side, one time for each side of a difference."""

    def __init__(self, shapes: Sequence[torch.Size], dtype: torch.dtype) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        self.rows = [-(-size // ROW) for size in sizes]
        self._sides = []
        for _ in range(2):
            # Memory of a mode without gradients could not be written to outside of it.
            with torch.inference_mode(mode=False):
                block = torch.zeros(sum(self.rows), ROW, dtype=dtype)
                views, start = [], 0
                for shape, size, rows in zip(shapes, sizes, self.rows, strict=True):
                    views.append(block.view(-1)[start : start + size].view(shape))
                    start += rows * ROW
            self._sides.append((block, views))

    def filled(self, tensors: Sequence[Tensor], side: int) -> Float[Tensor, "row entry"]:
        block, views = self._sides[side]
        torch._foreach_copy_(views, list(tensors))
        return block


class _Rooms(threading.local):
    """Those of one thread: what is measured one after the other shares them."""

    def __init__(self) -> None:
        self.known: dict[tuple[torch.dtype, tuple[torch.Size, ...]], _Room] = {}


_rooms: Final = _Rooms()


def _room(shapes: tuple[torch.Size, ...], dtype: torch.dtype | None) -> _Room | None:
    """None where the shapes need more of it than there is."""
    if dtype is None:
        return None
    room = _rooms.known.get((dtype, shapes))
    if room is None:
        if sum(-(-math.prod(shape) // ROW) for shape in shapes) * ROW > MOST:
            return None
        if len(_rooms.known) >= _LAYOUTS:
            _rooms.known.clear()
        room = _rooms.known[dtype, shapes] = _Room(shapes, dtype)
    return room


def _is_plain(tensor: Tensor) -> bool:
    """Whether its entries can be copied on the host, and nothing follows them."""
    return (
        tensor.device == _HOST
        and tensor.layout is torch.strided
        and type(tensor) in {Tensor, nn.Parameter}
        and not tensor.requires_grad
    )


def _rows_of(tensor: Tensor) -> int:
    """How many rows of a tensor are reduced one by one, so that threads can share them."""
    is_long = tensor.device == _HOST and tensor.ndim > 1 and tensor.numel() >= max(SMALL, ROW // 4 * tensor.shape[0])
    return tensor.shape[0] if is_long else 1


def _joined(values: Sequence[Tensor]) -> Tensor:
    """One vector, on the device of the first."""
    if len(values) == 1:
        return values[0]
    device = values[0].device
    return torch.cat([value if value.device == device else value.to(device) for value in values])


def counts(tensors: Sequence[Tensor], *, like: Tensor) -> tuple[Float[Tensor, "tensor"], Float[Tensor, "tensor"]]:
    """How many entries each has, and the roots of that."""
    return _counts(tuple(tensor.numel() for tensor in tensors), like.dtype, like.device)


@functools.lru_cache(maxsize=64)
def _counts(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(mode=False):
        counted = torch.tensor(sizes, dtype=dtype, device=device)
        return counted, counted.sqrt()


@functools.lru_cache(maxsize=64)
def _lengths(rows: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):
        return torch.tensor(rows, device=device)


class Remembered:
    """What was measured of tensors that stay as they are, by network; a copy of it remembers nothing."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[tuple[weakref.ref[Tensor], int]], Tensor]] = {}

    def __reduce__(self) -> tuple[type[Remembered], tuple[()]]:
        return Remembered, ()

    def of(self, network: str, tensors: Sequence[Tensor], measure: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
        """What ``measure`` gives for ``tensors``; from the last time where they are the same, and not written to."""
        known, value = self._known.get(network, ([], torch.empty(0)))
        if len(known) == len(tensors) and all(
            seen() is tensor and version == tensor._version
            for (seen, version), tensor in zip(known, tensors, strict=True)
        ):
            return value
        value = measure(tensors)
        self.keep(network, tensors, value)
        return value

    def keep(self, network: str, tensors: Sequence[Tensor], value: Tensor) -> None:
        """Take note of what was measured of ``tensors``."""
        if not any(tensor.is_inference() for tensor in tensors):
            self._known[network] = [(weakref.ref(tensor), tensor._version) for tensor in tensors], value


norms_before: Final = Remembered()
"""Norms of a network's parameters before its update: two probes ask for them."""


def norms(tensors: Sequence[Tensor]) -> Float[Tensor, "tensor"]:
    """The Frobenius norm of each."""
    blocks = Blocks(tensors)
    return blocks.norms([torch.linalg.vector_norm(block, dim=1) for block in blocks.of(tensors)])


def distances(these: Sequence[Tensor], those: Sequence[Tensor]) -> Float[Tensor, "tensor"]:
    """The Frobenius norm of each difference; one at a time, since all at once may need more room than there is."""
    return stacked([distance(this, that) for this, that in zip(these, those, strict=True)])


def row_distances(this: Float[Tensor, "row entry"], that: Float[Tensor, "row entry"]) -> Float[Tensor, "row"]:
    """The norm of each row of the difference."""
    rows: Tensor = torch.linalg.vector_norm(torch.sub(this, that, out=room_like(this)), dim=1)
    return rows


def absolute(block: Float[Tensor, "row entry"]) -> Float[Tensor, "row entry"]:
    """The absolute values, in memory that the next call writes to."""
    sizes: Tensor = torch.abs(block, out=room_like(block))
    return sizes


def stacked(values: Sequence[Tensor]) -> Float[Tensor, "tensor"]:
    """One vector, on the device of the first."""
    device = values[0].device
    return torch.stack([value if value.device == device else value.to(device) for value in values])


def norm(tensor: Tensor) -> Float[Tensor, ""]:
    """The Frobenius norm."""
    entries = tensor.to(wide(tensor))
    if entries.numel() > RUN and entries.is_cpu:
        # A run of single precision rounds off the more the longer it gets.
        entries = torch.stack([torch.linalg.vector_norm(run) for run in entries.reshape(-1).split(RUN)])
    found: Tensor = torch.linalg.vector_norm(entries)
    return found


def distance(this: Tensor, that: Tensor) -> Float[Tensor, ""]:
    """The Frobenius norm of the difference."""
    if this.dtype != that.dtype or this.dtype in _NARROW:
        this, that = this.to(wide(this)), that.to(wide(that))
    return norm(torch.sub(this, that, out=None if that.requires_grad else room_like(this)))


def over(part: Tensor, whole: Tensor) -> Tensor:
    """The ratio; NaN where the whole is 0."""
    # The second factor is 1 or, of 0 over 0, NaN; it needs no kind of operation that a record does not use anyway.
    return part / whole * (whole / whole)


def wide(tensor: Tensor) -> torch.dtype:
    """The precision that a tensor is reduced in."""
    return _WIDE.get(tensor.dtype) or torch.promote_types(tensor.dtype, torch.float32)


def together(norms: Float[Tensor, "part"]) -> Float[Tensor, "1"]:
    """Norm of all parts taken as one vector, from the norm of each.

    Added one after the other: the same bits in every process, wherever the norms lie in its memory.

    >>> together(torch.tensor([3.0, 4.0]))
    tensor([5.])
    """
    squares = torch.nn.functional.pad(norms.double().square(), (1, 0))
    return squares.cumsum(dim=0)[-1:].sqrt().to(norms.dtype)
