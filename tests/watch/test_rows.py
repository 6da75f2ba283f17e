"""Gradients of many pieces from two backward passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from plastikit.watch.pieces import pieces_of
from plastikit.watch.rows import gradients_of_rows

GROUPS = torch.arange(3).repeat_interleave(8)


class Stacked(nn.Module):
    """A trunk on rows, two modules side by side that see every row, and a head for each group."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(5, 6)
        self.modules_weight = nn.Parameter(torch.randn(2, 6, 4))
        self.modules_bias = nn.Parameter(torch.randn(2, 1, 4))
        self.heads_weight = nn.Parameter(torch.randn(3, 4, 2))
        self.heads_bias = nn.Parameter(torch.randn(3, 1, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the outputs of every row, each group's one after the other."""
        rows = self.trunk(inputs).relu().expand(2, -1, -1)
        hidden = torch.baddbmm(self.modules_bias, rows, self.modules_weight).relu().sum(dim=0)
        return torch.baddbmm(self.heads_bias, hidden.view(3, 8, 4), self.heads_weight).flatten(0, 1)


class Shuffled(nn.Module):
    """A layer that sees its samples in another order, and as many of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn the batch around in the middle."""
        return self.second(self.first(inputs.flip(0)).relu().flip(0))


class Twice(nn.Module):
    """A layer that is gone through two times, and one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Go through the second layer twice."""
        return self.last(self.again(self.again(self.first(inputs).relu()).relu()).relu())


def plain() -> nn.Module:
    """Three linear layers."""
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))


def cut(groups: Tensor) -> Tensor:
    """Each group's samples in two pieces, in turn, as weights for a mean."""
    pieces = torch.zeros(2 * (int(groups.max()) + 1), len(groups))
    for group in groups.unique().tolist():
        for half in range(2):
            rows = (groups == group).nonzero().flatten()[half::2]
            pieces[2 * group + half, rows] = 1.0 / len(rows)
    return pieces


@pytest.mark.parametrize(
    ("make", "expected"),
    [(plain, 6), (Stacked, 6), (Shuffled, 2), (Twice, 2)],
)
@pytest.mark.parametrize("groups", [GROUPS, torch.tensor([0] * 9 + [1] * 8 + [2] * 7)])
def test_pieces_are_those_of_one_pass_each(make: Callable[[], nn.Module], expected: int, groups: Tensor) -> None:
    """Equal pieces or not: what is found at once equals a backward pass of each piece; what does not fit is left."""
    torch.manual_seed(0)
    model = make()
    parameters = list(model.parameters())
    losses = model(torch.randn(24, 5)).square().mean(dim=1)
    pieces = cut(groups)
    found = gradients_of_rows(losses, pieces, parameters)
    assert len(found) == expected
    for piece, weight in enumerate(pieces):
        alone = torch.autograd.grad(losses, parameters, weight, retain_graph=True)
        for place, gradients in found.items():
            torch.testing.assert_close(gradients[piece], alone[place].flatten(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("make", [plain, Stacked, Shuffled, Twice])
def test_all_parameters_are_there_in_their_order(make: Callable[[], nn.Module]) -> None:
    """Found at once or one by one, gradients stand where the parameters stand."""
    torch.manual_seed(1)
    model = make()
    losses = model(torch.randn(24, 5)).square()
    named = {name: each for name, each in model.named_parameters() if not name.startswith("heads")}
    told = pieces_of(losses, GROUPS, named)
    assert told.gradients.shape[0] == 9
    for piece in range(9):
        rows = 8 * (piece // 3) + torch.arange(piece % 3, 8, 3)
        alone = torch.autograd.grad(losses[rows].mean(), list(named.values()), retain_graph=True)
        expected = torch.cat([gradient.flatten() for gradient in alone])
        torch.testing.assert_close(told.gradients[piece], expected, atol=1e-6, rtol=1e-5)


def test_two_passes_are_enough() -> None:
    """A batch in nine pieces is not gone through nine times, and hooks of this look are gone after it."""
    model = plain()
    losses = model(torch.randn(24, 5)).square().mean(dim=1)
    passes = []
    losses.register_hook(lambda _: passes.append(1))
    pieces_of(losses, GROUPS, dict(model.named_parameters()))
    assert len(passes) == 2
    losses.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_is_not_finite_goes_one_by_one() -> None:
    """Of a batch with a NaN nothing is found at once; it is handed on as a backward pass for each piece gives it."""
    model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 1))
    inputs = torch.randn(24, 5)
    inputs[3] = torch.nan
    losses = model(inputs).square().squeeze(1)
    assert gradients_of_rows(losses, cut(GROUPS), list(model.parameters())) == {}
    told = pieces_of(losses, GROUPS, dict(model.named_parameters()))
    assert told.gradients.isnan().any(dim=1).all()
