"""Samples by group."""

from __future__ import annotations

import pytest
import torch

from plastikit.probes.partition import partition, partitions


def test_rows_of_each_group_in_their_order() -> None:
    """A group's rows are those of its samples, in the order of the batch; a group without samples has none."""
    found = partition(torch.tensor([3, 0, 3, 1, 0]))
    parts = found.split(torch.arange(10.0).view(5, 2))
    assert [part[:, 0].tolist() for part in parts] == [[2, 8], [6], [], [0, 4]]
    assert found.counts == [2, 1, 0, 2]
    assert found.of_size == {2: [0, 3], 1: [1]}


def test_nobody_at_all() -> None:
    """No sample is one group without any."""
    found = partition(torch.zeros(0, dtype=torch.int64))
    assert (found.counts, found.of_size) == ([0], {})
    assert [len(part) for part in found.split(torch.zeros(0, 3))] == [0]


def test_layers_that_share_their_groups_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question for each tensor of groups, however many layers have it."""
    asked = []
    bincount = torch.bincount

    def counted(groups: torch.Tensor, *, minlength: int) -> torch.Tensor:
        asked.append(groups)
        return bincount(groups, minlength=minlength)

    monkeypatch.setattr(torch, "bincount", counted)
    shared, own = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 1])
    found = partitions({"a": shared, "b": shared, "rows": own})
    assert [id(groups) for groups in asked] == [id(shared), id(own)]
    assert {layer: each.counts for layer, each in found.items()} == {"a": [1, 2], "b": [1, 2], "rows": [2, 4]}
