"""A batch is cut as it says, its gradients are those of the pieces, and the training does not notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from plastikit.errors import ConfigurationError, UnknownNameError
from plastikit.watch.pieces import pieces_of, pieces_of_groups


class _Calls(TorchDispatchMode):
    """Counts the operations that run inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own has no types
        self.count = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return operation(*args, **(kwargs or {}))


class _Heads(nn.Module):
    """A trunk, a stack of heads with one per group, and a frozen scale."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.trunk = nn.Linear(5, 4)
        self.heads = nn.Parameter(torch.randn(groups, 4, 3))
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, inputs: Tensor, groups: Tensor) -> Tensor:
        return torch.einsum("bi,bio->bo", self.trunk(inputs).tanh(), self.heads[groups]) * self.scale


def _batch(groups: list[int], seed: int = 0) -> tuple[_Heads, Tensor, Tensor]:
    torch.manual_seed(seed)
    model = _Heads(max(groups) + 1)
    given = torch.tensor(groups)
    return model, model(torch.randn(len(groups), 5), given).square().mean(dim=1), given


def _by_hand(losses: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(losses.mean(), parameters, retain_graph=True)
    return torch.cat([gradient.reshape(-1) for gradient in found])


def test_pieces_are_interleaved() -> None:
    """The samples of a group go to its pieces in turn, and each row is the gradient of the mean loss of its piece."""
    model, losses, groups = _batch([2, 0, 2, 0, 2, 2, 0, 0, 2, 2, 2, 0, 0, 2])
    pieces = pieces_of(losses, groups, dict(model.named_parameters()))
    members = {group: (groups == group).nonzero().ravel() for group in (0, 2)}
    wanted = [losses[members[group][k::4]] for group in (0, 2) for k in range(4)]
    assert pieces.groups.tolist() == [0] * 4 + [2] * 4
    assert pieces.samples.tolist() == [len(piece) for piece in wanted]
    rows = torch.stack([_by_hand(piece, list(model.trunk.parameters())) for piece in wanted])
    torch.testing.assert_close(pieces.gradients, rows)


@pytest.mark.parametrize(
    ("groups", "counts"),
    [
        ([0] * 20, [8]),
        ([0] * 3, [3]),
        ([0, 1, 2] * 9, [3, 3, 3]),
        (list(range(12)) * 3, [2] * 12),
        ([0] * 9 + [5], [4, 1]),
    ],
)
def test_how_many_pieces(groups: list[int], counts: list[int]) -> None:
    """max(2, ceil(8 / groups)) pieces of each group, fewer where it has fewer samples; every sample is in one."""
    model, losses, given = _batch(groups)
    pieces = pieces_of(losses, given, dict(model.named_parameters()))
    assert torch.unique(pieces.groups, return_counts=True)[1].tolist() == counts
    assert pieces.samples.sum() == len(groups)


def test_the_weighted_mean_is_the_gradient_of_the_batch() -> None:
    """All pieces together, weighted by their samples, are the gradient of the mean loss."""
    model, losses, groups = _batch([0, 1, 1, 0, 1, 1, 1, 2, 2])
    pieces = pieces_of(losses, groups, dict(model.named_parameters()), shared=["*"])
    weights = pieces.samples / pieces.samples.sum()
    torch.testing.assert_close(weights @ pieces.gradients, _by_hand(losses, [model.heads, *model.trunk.parameters()]))


def test_shared_are_those_that_two_groups_reach() -> None:
    """A stack of heads with one per group is not shared, a frozen parameter never; with one group all count."""
    model, losses, groups = _batch([0, 1] * 6)
    named = dict(model.named_parameters())
    trunk, heads = 5 * 4 + 4, 2 * 4 * 3
    assert pieces_of(losses, groups, named).gradients.shape == (8, trunk)
    assert pieces_of(losses, None, named).gradients.shape == (8, trunk + heads)
    assert pieces_of(losses, groups, named, shared=["heads"]).gradients.shape == (8, heads)
    assert pieces_of(losses, groups, named, shared=["trunk.*", "heads"]).gradients.shape == (8, trunk + heads)
    assert pieces_of(losses, groups, named, shared=["scale"]).gradients.shape == (8, 0)
    with pytest.raises(UnknownNameError, match=r"'trunks\.\*'"):
        pieces_of(losses, groups, named, shared=["trunks.*"])


def test_shared_are_those_that_a_search_finds() -> None:
    """Whichever groups reach which entries: a parameter is shared where a search through all its entries says so."""
    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(40):
        groups = 3 * torch.randint(0, 4, (12,), generator=generator)
        # An entry of its own for each group, and far behind these one that some samples of any group reach.
        table, few = nn.Parameter(torch.ones(1_100)), nn.Parameter(torch.ones(6))
        behind = torch.where(torch.rand(12, generator=generator) < 0.1, 1_050, groups)
        reached = (torch.rand(12, 6, generator=generator) < 0.1).float()
        losses = table[groups] + table[behind] + reached @ few
        expected = 0
        for parameter in (table, few):
            rows = [
                torch.autograd.grad(losses[groups == group].sum(), parameter, retain_graph=True)[0] != 0
                for group in groups.unique()
            ]
            expected += parameter.numel() * bool((torch.stack(rows).sum(dim=0) > 1).any())
        assert pieces_of(losses, groups, {"table": table, "few": few}).gradients.shape[1] == expected
        found.add(expected)
    assert found == {0, 6, 1_100, 1_106}


def test_more_groups_take_no_more_operations() -> None:
    """Each operation is a call to the device: there are as many of them for 48 groups as for 4."""
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    counts = set()
    for groups in (4, 12, 48):
        losses = model(torch.randn(96, 5)).square()
        with _Calls() as calls:
            pieces = pieces_of(losses, torch.arange(96) % groups, dict(model.named_parameters()))
        assert pieces.gradients.shape == (2 * groups, 43)
        counts.add(calls.count)
    assert len(counts) == 1


def test_one_head_for_two_groups_is_shared() -> None:
    """Heads of their own for each group are not shared where they are modules; one that two groups use is."""
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    model = nn.ModuleDict({"trunk": trunk, "heads": heads})
    features = trunk(torch.randn(9, 3)).tanh()
    losses = torch.cat([heads[0](features[:6]), heads[1](features[6:])]).square()
    groups = torch.tensor([0] * 3 + [1] * 3 + [2] * 3)
    pieces = pieces_of(losses, groups, dict(model.named_parameters()))
    assert pieces.gradients.shape[1] == 16 + 5


def test_tied_parameters_count_once() -> None:
    """Two names of one parameter are one."""
    layer = nn.Linear(3, 3)
    losses = layer(torch.randn(8, 3)).square()
    pieces = pieces_of(losses, None, {"a": layer.weight, "b": layer.weight, "bias": layer.bias})
    assert pieces.gradients.shape == (8, 12)


def test_further_dimensions_are_averaged() -> None:
    """Losses of [sample, ...] count as their mean for each sample."""
    layer = nn.Linear(3, 4)
    losses = layer(torch.randn(10, 6, 3)).square()
    named = dict(layer.named_parameters())
    found = pieces_of(losses, [0, 1] * 5, named)
    torch.testing.assert_close(found.gradients, pieces_of(losses.mean(dim=(1, 2)), [0, 1] * 5, named).gradients)


def test_sparse_and_half_precision_gradients() -> None:
    """Sparse gradients are filled in, and half precision is handed on in single."""
    table = nn.Embedding(9, 3, sparse=True)
    tokens = torch.tensor([1, 1, 4, 4, 7, 7, 1, 4])
    losses = table(tokens).square().sum(dim=1)
    pieces = pieces_of(losses, None, dict(table.named_parameters()))
    dense = nn.Embedding(9, 3, _weight=table.weight.detach().clone())
    wanted = pieces_of(dense(tokens).square().sum(dim=1), None, dict(dense.named_parameters()))
    torch.testing.assert_close(pieces.gradients, wanted.gradients)
    layer = nn.Linear(3, 2).to(torch.bfloat16)
    half = pieces_of(layer(torch.randn(8, 3).to(torch.bfloat16)).square(), None, dict(layer.named_parameters()))
    assert half.gradients.dtype == torch.float32
    assert half.gradients.isfinite().all()


def test_the_training_does_not_notice() -> None:
    """Gradients, parameters and random state after a backward are the same bits with and without the pieces."""

    def run(*, cuts: bool) -> tuple[list[Tensor], Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            losses = model(torch.randn(16, 4)).square().squeeze(1)
            optimizer.zero_grad()
            if cuts:
                pieces = pieces_of(losses, [0, 1] * 8, dict(model.named_parameters()))
                assert not pieces.gradients.requires_grad
                assert all(parameter.grad is None for parameter in model.parameters())
            losses.mean().backward()
            optimizer.step()
        return [*model.state_dict().values(), *(p.grad for p in model.parameters())], torch.get_rng_state()

    (plain, plain_state), (cut, cut_state) = run(cuts=False), run(cuts=True)
    assert all(torch.equal(this, that) for this, that in zip(plain, cut, strict=True))
    assert torch.equal(plain_state, cut_state)


def test_works_without_gradients_enabled() -> None:
    """The graph is there whatever mode the call is made in."""
    model, losses, groups = _batch([0, 1] * 4)
    named = dict(model.named_parameters())
    with torch.no_grad():
        inside = pieces_of(losses, groups, named)
    assert torch.equal(inside.gradients, pieces_of(losses, groups, named).gradients)


def test_losses_of_groups() -> None:
    """One loss per group gives one piece each, on what the groups share."""
    model, losses, groups = _batch([0, 1, 1, 0, 2, 2, 1])
    means = {f"task-{group}": losses[groups == group].mean() for group in range(3)}
    pieces = pieces_of_groups(means, dict(model.named_parameters()))
    assert pieces.groups.tolist() == [0, 1, 2]
    assert pieces.samples.tolist() == [1, 1, 1]
    rows = torch.stack([_by_hand(losses[groups == group], list(model.trunk.parameters())) for group in range(3)])
    torch.testing.assert_close(pieces.gradients, rows)


def test_a_group_without_a_graph_has_no_gradient() -> None:
    """A group whose loss depends on nothing has a gradient of zeros beside the others."""
    layer = nn.Linear(2, 1)
    losses = {0: layer(torch.ones(1, 2)).sum(), 1: layer(torch.zeros(1, 2)).sum(), 2: torch.tensor(1.0)}
    pieces = pieces_of_groups(losses, dict(layer.named_parameters()), shared="*")
    assert pieces.gradients.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda loss, named: pieces_of(loss.mean(), None, named), "reduction='none'"),
        (lambda loss, named: pieces_of(loss[:0], None, named), "one loss per sample"),
        (lambda loss, named: pieces_of(loss.detach(), None, named), "no graph"),
        (lambda loss, named: pieces_of(loss.tolist(), None, named), "is a list"),
        (lambda loss, named: pieces_of(loss, [0, 1], named), "name 2 samples, where losses have 6"),
        (lambda loss, named: pieces_of(loss, torch.full((6,), 0.5), named), "whole numbers"),
        (lambda loss, named: pieces_of_groups({}, named), "empty"),
        (lambda loss, named: pieces_of_groups({"a": loss}, named), r"group 'a' is a tensor of shape \(6,\)"),
        (lambda loss, named: pieces_of_groups({"a": loss.mean().item()}, named), r"is [0-9.]+, where one number"),
        (lambda loss, named: pieces_of_groups({"a": loss.mean().detach()}, named), "no graph"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[Tensor, dict[str, Tensor]], object], told: str) -> None:
    """An error says what was found and what to give instead."""
    model, losses, _ = _batch([0] * 6)
    with pytest.raises(ConfigurationError, match=told):
        make(losses, dict(model.named_parameters()))
