"""The samples of a batch by group: of layers that share their groups the device is asked once which they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Partition:
    """Which samples are in groups 0, 1, ... up to the largest."""

    counts: Sequence[int]
    """Samples of each group."""
    _order: Int[Tensor, "sample"]

    @property
    def of_size(self) -> dict[int, list[int]]:
        """The groups that have as many samples, without those that have none: they can be measured as one tensor."""
        found: dict[int, list[int]] = {}
        for group, count in enumerate(self.counts):
            if count:
                found.setdefault(count, []).append(group)
        return found

    def split(self, rows: Float[Tensor, "sample unit"]) -> Sequence[Float[Tensor, "part unit"]]:
        """The rows of each group, in their order."""
        parts: Sequence[Tensor] = rows[self._order].split(list(self.counts))
        return parts


def partition(groups: Int[Tensor, "sample"]) -> Partition:
    """From the group of each sample.

    >>> partition(torch.tensor([2, 0, 2])).of_size
    {1: [0], 2: [2]}
    """
    return Partition(torch.bincount(groups, minlength=1).tolist(), groups.argsort(stable=True))


def partitions(groups: Mapping[str, Int[Tensor, "sample"]]) -> dict[str, Partition]:
    """That of each layer; one for all layers whose groups are one tensor."""
    found: dict[int, Partition] = {}
    for each in groups.values():
        if id(each) not in found:
            found[id(each)] = partition(each)
    return {layer: found[id(each)] for layer, each in groups.items()}
