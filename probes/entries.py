"""The entries of several tensors side by side in one buffer: one operation then serves them all."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

ROW: Final = 512
"""Entries of a row; each tensor begins on a row of its own, and zeros fill its last one up."""
MOST: Final = 1 << 22
"""Entries that a buffer has room for; with more of them, a call for each tensor no longer counts."""

_FULL: Final = frozenset({torch.float32, torch.float64})
_LAYOUTS: Final = 32
_WIDE: Final = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
_HOST: Final = torch.device("cpu")


class Entries:
    """Room for tensors of given shapes, [row, entry]; made once, and shared by all that are of these shapes.

    What is measured of the tensors is [tensor], in double precision.
    """

    def __init__(self, shapes: Sequence[torch.Size], space: _Space) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        rows = [-(-size // ROW) for size in sizes]
        self.sizes = torch.tensor(sizes, dtype=torch.float64)
        self.roots = self.sizes.sqrt()
        self.rows = torch.tensor(rows)
        self.starts = [sum(rows[:place]) * ROW for place in range(len(rows))]
        self.buffer = space.memory[: sum(rows) * ROW].view(-1, ROW)
        self._space = space
        flat = self.buffer.view(-1)
        self._views = [
            flat[start : start + size].view(shape)
            for start, size, shape in zip(self.starts, sizes, shapes, strict=True)
        ]

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Copy them in."""
        if self._space.holds is not self:
            # What others left where the rows are filled up.
            self.buffer.zero_()
            self._space.holds = self
        torch._foreach_copy_(self._views, tensors)  # noqa: SLF001  as torch's optimizers do; it has no public name

    def subtract(self, tensors: Sequence[Tensor]) -> None:
        """Take them from what was loaded."""
        torch._foreach_sub_(self._views, tensors)  # noqa: SLF001

    def spoil(self) -> None:
        """The buffer was written to, its filling included."""
        self._space.holds = None

    def squares(self) -> Float[Tensor, "tensor"]:
        """Sums of squared entries; the entries of each row are summed in the buffer's precision."""
        return self.sums(torch.linalg.vector_norm(self.buffer, dim=1).to(torch.float64).square_())

    def totals(self) -> Float[Tensor, "tensor"]:
        """Sums of entries."""
        return self.sums(self.buffer.sum(dim=1).to(torch.float64))

    def largest(self) -> Float[Tensor, "tensor"]:
        """Largest entries; of those at least 0."""
        return torch.segment_reduce(self.buffer.amax(dim=1), "max", lengths=self.rows, unsafe=True)

    def sums(self, of_rows: Float[Tensor, "row"]) -> Float[Tensor, "tensor"]:
        """Sums over the rows of each tensor."""
        return torch.segment_reduce(of_rows, "sum", lengths=self.rows, unsafe=True)


class _Space:
    """Memory for entries of one precision, and whose they are."""

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        # Memory of a mode without gradients could not be written to outside of it.
        with torch.inference_mode(mode=False):
            self.memory = torch.zeros(size, dtype=dtype)
        self.holds: Entries | None = None
        self.layouts: dict[tuple[torch.Size, ...], Entries] = {}


class _Spaces(threading.local):
    """One memory for each precision: what is measured one after the other shares it."""

    def __init__(self) -> None:
        self.known: dict[tuple[torch.dtype, int], _Space] = {}


_spaces: Final = _Spaces()


def entries_of(tensors: Sequence[Tensor], *others: Sequence[Tensor], place: int = 0) -> Entries | None:
    """Room for ``tensors``, into which ``others`` of their shapes may be loaded too.

    None where one buffer does not serve: too many entries, another device than the host, whole or complex numbers, or
    some that need more precision than others. ``place`` tells rooms that are used at the same time.
    """
    dtypes = {tensor.dtype for each in (tensors, *others) for tensor in each}
    wide = {_WIDE.get(dtype) for dtype in dtypes}
    if len(wide) != 1 or any(
        tensor.device != _HOST or tensor.layout is not torch.strided for each in (tensors, *others) for tensor in each
    ):
        return None
    dtype = wide.pop()
    if dtype is None:
        return None
    shapes = tuple(tensor.shape for tensor in tensors)
    space = _spaces.known.get((dtype, place))
    known = None if space is None else space.layouts.get(shapes)
    return known or _made(shapes, dtype, place)


def _made(shapes: tuple[torch.Size, ...], dtype: torch.dtype, place: int) -> Entries | None:
    needed = sum(-(-math.prod(shape) // ROW) for shape in shapes) * ROW
    if needed > MOST:
        return None
    space = _spaces.known.get((dtype, place))
    if space is None or len(space.memory) < needed or len(space.layouts) >= _LAYOUTS:
        size = needed if space is None else max(needed, len(space.memory))
        space = _spaces.known[dtype, place] = _Space(size, dtype)
    with torch.inference_mode(mode=False):
        entries = space.layouts[shapes] = Entries(shapes, space)
    return entries


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
            seen() is tensor and version == tensor._version  # noqa: SLF001  torch's own count of writes
            for (seen, version), tensor in zip(known, tensors, strict=True)
        ):
            return value
        value = measure(tensors)
        if not any(tensor.is_inference() for tensor in tensors):
            self._known[network] = [(weakref.ref(tensor), tensor._version) for tensor in tensors], value  # noqa: SLF001
        return value


def norms(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The Frobenius norm of each, where they do not share a buffer."""
    if all(tensor.dtype in _FULL for tensor in tensors):
        found: Sequence[Tensor] = torch._foreach_norm(tensors)  # noqa: SLF001
        return found
    return [torch.linalg.vector_norm(tensor, dtype=wide(tensor)) for tensor in tensors]


def sums(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The sum of absolute values of each; twice as fast as the norm of that order."""
    return [tensor.abs().sum(dtype=None if tensor.dtype in _FULL else wide(tensor)) for tensor in tensors]


def distances(these: Sequence[Tensor], those: Sequence[Tensor]) -> Sequence[Tensor]:
    """One at a time: differences of all at once can be more than the device has room for."""
    if all(tensor.dtype in _FULL for tensor in (*these, *those)):
        return [torch.linalg.vector_norm(this - that) for this, that in zip(these, those, strict=True)]
    return [
        torch.linalg.vector_norm(modulus(this.to(wide(this)) - that.to(wide(that))))
        for this, that in zip(these, those, strict=True)
    ]


def vector(values: Sequence[Tensor]) -> Float[Tensor, "tensor"]:
    """One value of each tensor, on the device of the first."""
    if len({value.device for value in values}) > 1:
        values = [value.to(values[0].device) for value in values]
    return torch.stack(list(values))


def over(part: Tensor, whole: Tensor) -> Tensor:
    """The ratio; NaN where the whole is 0."""
    return part / whole.masked_fill(whole == 0, torch.nan)


def modulus(tensor: Tensor) -> Tensor:
    """The modulus of complex entries."""
    return tensor.abs() if tensor.is_complex() else tensor


def wide(tensor: Tensor) -> torch.dtype:
    """The precision that a tensor is reduced in."""
    return torch.promote_types(tensor.dtype, torch.float32)
