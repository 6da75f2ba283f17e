"""Tensors kept as they were seen, the gradients that reached them, and the samples that their rows belong to."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from plastikit.watch.sight import Held, Seen, backward_pass, deaf, packed_rows


def test_a_copy_is_taken_before_a_write() -> None:
    """What was held stays as it was; a write that nobody announced is told."""
    tensor = torch.zeros(3)
    held = Held(tensor)
    held.copy()
    tensor.add_(1)
    assert held.is_as_it_was
    assert held.tensor.tolist() == [0, 0, 0]
    held = Held(tensor)
    tensor.add_(1)
    assert not held.is_as_it_was


def test_gradients_of_each_backward_apart() -> None:
    """Those of the passes that count are summed; one of none of them is None, and ours are never noted."""
    tensor = torch.ones(2, requires_grad=True) * 2
    held = Held(tensor)
    held.listen(tensor)
    keys = []
    tensor.register_hook(lambda _gradient: keys.append(backward_pass()))
    for factor in (1.0, 10.0, 100.0):
        (factor * tensor).sum().backward(retain_graph=True)
    with deaf():
        (7 * tensor).sum().backward(retain_graph=True)
    assert held.gradient(keys[:2]).tolist() == [11, 11]
    assert held.gradient(keys[2:]).tolist() == [100, 100]
    assert held.gradient([]) is None
    assert backward_pass() is None


def test_rows_of_a_packed_sequence() -> None:
    """Each row is traced to its sample, in the order in which the samples were given."""
    lengths = [2, 3, 1]
    steps = torch.arange(3.0).reshape(3, 1, 1).expand(3, 3, 1)
    packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    assert packed_rows(packed).tolist() == packed.data.flatten().tolist()


def test_groups_of_rows() -> None:
    """A sample lends its group to each of its rows, wherever its axis is; groups that do not fit are none."""
    output = Held(torch.zeros(5, 3, 4))
    groups = torch.tensor([2, 0, 1])
    first = Seen([output], axis=-1, is_of_whole=True, sample_axis=1)
    assert first.groups(groups).tolist() == [2] * 5 + [0] * 5 + [1] * 5
    assert first.matrix([output.tensor]).shape == (15, 4)
    assert Seen([output], axis=-1, is_of_whole=True).groups(groups) is None
    assert Seen([output], axis=-2, is_of_whole=True).matrix([output.tensor]).shape == (20, 3)


def test_layers_of_the_same_rows_have_one_tensor_of_groups() -> None:
    """What is known of the groups of one layer is known of the next: no copy stands between them."""
    groups = torch.tensor([2, 0, 1])
    layers = [Seen([Held(torch.zeros(3, width))], axis=-1, is_of_whole=True) for width in (4, 8)]
    first, second = (layer.groups(groups) for layer in layers)
    assert first is not None
    assert first is second
    called_twice = Seen([Held(torch.zeros(3, 4)), Held(torch.zeros(3, 4))], axis=-1, is_of_whole=True)
    assert called_twice.groups(groups).tolist() == [2, 0, 1, 2, 0, 1]
