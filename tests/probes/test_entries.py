"""Tensors that share a block are measured as they would be alone."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor

from plastikit.probes.entries import RUN, SMALL, Blocks, Remembered, absolute, counts, distance, in_order, norm, norms


def _tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.bias": (7,), "a": (130, 130), "b": (), "c": (2, SMALL), "d": (30, 40), "c.bias": (600,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_weights_come_first_and_small_ones_lie_side_by_side() -> None:
    """One run of small tensors, begun by the weights among them."""
    assert in_order(_tensors(), {"a", "c", "d"}) == ["a", "c", "d", "a.bias", "b", "c.bias"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_each_is_measured_as_if_alone(dtype: torch.dtype) -> None:
    """Sums, norms and largest entries over rows of shared and of own blocks, twice with other values between."""
    named = _tensors()
    tensors = [named[name].to(dtype) for name in in_order(named, {"a", "c", "d"})]
    blocks = Blocks(tensors)
    for scale in (1.0, -3.0):
        scaled = [tensor * scale for tensor in tensors]
        rows = [block.clone() for block in blocks.of(scaled)]
        exact = [tensor.double() for tensor in scaled]
        assert norms(scaled).tolist() == pytest.approx([tensor.norm().item() for tensor in exact], rel=1e-5)
        found = blocks.sums([block.abs().sum(dim=1) for block in rows])
        assert found.tolist() == pytest.approx([tensor.abs().sum().item() for tensor in exact], rel=1e-5)
        found = blocks.largest([block.abs().amax(dim=1) for block in rows])
        assert found.tolist() == pytest.approx([tensor.abs().max().item() for tensor in exact], rel=1e-5)


def test_nan_stays_where_it_is() -> None:
    """A NaN in one small tensor leaves those beside it as they are."""
    tensors = [torch.ones(3), torch.tensor([1.0, math.nan]), torch.ones(5)]
    blocks = Blocks(tensors)
    largest = blocks.largest([block.abs().amax(dim=1) for block in blocks.of(tensors)])
    assert norms(tensors).isnan().tolist() == largest.isnan().tolist() == [False, True, False]


def test_what_gradients_follow_keeps_a_block_of_its_own() -> None:
    """Memory that is shared holds nothing that gradients flow through."""
    tensors = [torch.ones(3, requires_grad=True), torch.ones(4)]
    assert norms(tensors).requires_grad
    assert not norms([tensor.detach() for tensor in tensors]).requires_grad


def test_counts_entries() -> None:
    """How many there are, and the roots."""
    tensors = [torch.ones(3, 3), torch.ones(4)]
    entries, roots = counts(tensors, like=norms(tensors))
    assert (entries.tolist(), roots.tolist()) == ([9, 4], [3, 2])


def test_remembers_until_a_tensor_is_written_to() -> None:
    """Measured again for other tensors, after a write into one of them, and by a copy."""
    kept, tensors = Remembered(), [torch.ones(2), torch.ones(3)]
    calls: list[int] = []

    def measure(given: object) -> Tensor:
        calls.append(1)
        assert given is not None
        return torch.zeros(2)

    kept.of("n", tensors, measure)
    kept.of("n", tensors, measure)
    assert len(calls) == 1
    tensors[0].add_(1)
    kept.of("n", tensors, measure)
    kept.of("n", [tensors[0], torch.ones(3)], measure)
    kept.of("m", tensors, measure)
    assert len(calls) == 4
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        other.of("m", tensors, measure)
    assert len(calls) == 6


def test_what_was_measured_elsewhere_is_remembered() -> None:
    """A value that is handed over is given back for the same tensors, and for no others."""
    kept, tensors = Remembered(), [torch.ones(2)]
    kept.keep("n", tensors, torch.tensor([7.0]))
    assert kept.of("n", tensors, norms).tolist() == [7.0]
    assert kept.of("n", [torch.ones(4)], norms).tolist() == [2.0]


def test_many_entries_are_not_added_up_in_one_run() -> None:
    """Single precision loses more and more of a long sum: norms of long vectors keep what short ones have."""
    entries = 0.5 + torch.rand(24 * RUN, generator=torch.Generator().manual_seed(0))
    exact = entries.double().norm().item()
    assert norm(entries).item() == pytest.approx(exact, rel=1e-6)
    assert distance(entries, -entries).item() == pytest.approx(2 * exact, rel=1e-6)


def test_room_for_differences_is_used_again_and_not_handed_out() -> None:
    """Two measurements one after the other do not disturb each other; gradients get memory of their own."""
    these, those = torch.full((3, 4), 2.0), torch.zeros(3, 4)
    first, second = distance(these, those), distance(these, -these)
    assert (first.item(), second.item()) == pytest.approx((48**0.5, 192**0.5))
    assert absolute(-these).tolist() == these.tolist()
    followed = these.clone().requires_grad_()
    distance(followed, those).backward()  # type: ignore[no-untyped-call]
    assert followed.grad is not None
