"""Layers that are alike, measured as one tensor: a call costs the same for one layer as for ten."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from plastikit.watch.probe import Rows


def alike(matrices: Mapping[str, Tensor], kind: Callable[[str], Hashable] = lambda _layer: None) -> Iterable[list[str]]:
    """The layers of one shape, precision, device and ``kind``."""
    found: dict[tuple[object, ...], list[str]] = {}
    for layer, matrix in matrices.items():
        found.setdefault((matrix.shape, matrix.dtype, matrix.device, kind(layer)), []).append(layer)
    return found.values()


def add(reading: dict[str, Rows], variable: str, labels: Sequence[str], values: Float[Tensor, "label ..."]) -> None:
    """Values of further labels."""
    rows = Rows(labels, values)
    known = reading.get(variable)
    reading[variable] = rows if known is None else known | rows


def pooled(shares: Sequence[tuple[Float[Tensor, "layer ..."], int]]) -> Float[Tensor, "1 ..."]:
    """The share over all layers, from the shares in layers that are alike and how many units each of them has."""
    if len(shares) == 1:
        return shares[0][0].mean(dim=0, keepdim=True)
    units = sum(len(share) * width for share, width in shares)
    first, *others = (share.sum(dim=0, keepdim=True) * width for share, width in shares)
    return sum(others, start=first) / units
