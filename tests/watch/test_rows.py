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


class Mixed(nn.Module):
    """A layer whose rows are divided by what the whole batch is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Divide by a value of all samples in the middle."""
        hidden = self.first(inputs).relu()
        return self.second(hidden / hidden.std())


class Tied(nn.Module):
    """One weight in two products, turned around once for both; and a bias for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 5))
        self.first, self.second = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))
        self.last, self.of_rows = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(24, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Add up two products with one weight."""
        turned = self.weight.t()
        hidden = torch.addmm(self.first, inputs, turned) + torch.addmm(self.second, inputs.square(), turned)
        return torch.addmm(self.of_rows, hidden.relu(), self.last)


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


FOUND: list[tuple[Callable[[], nn.Module], int]] = [
    (plain, 6),
    (Stacked, 6),
    (Shuffled, 2),
    (Twice, 2),
    (Mixed, 2),
    (Tied, 0),
]
"""How many parameters of each are found at once."""


@pytest.mark.parametrize(("make", "expected"), FOUND)
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


def _check_under_autocast(make: Callable[[], nn.Module], expected: int, device: str) -> None:
    torch.manual_seed(0)
    model = make().to(device)
    parameters = list(model.parameters())
    with torch.autocast(device, torch.bfloat16):
        outputs = model(torch.randn(24, 5).to(device))
    assert outputs.dtype == torch.bfloat16
    losses = outputs.float().square().mean(dim=1)
    pieces = cut(GROUPS).to(device)
    found = gradients_of_rows(losses, pieces, parameters)
    assert len(found) == expected
    for piece, weight in enumerate(pieces):
        alone = torch.autograd.grad(losses, parameters, weight, retain_graph=True)
        for place, gradients in found.items():
            one_pass = alone[place].flatten()
            assert gradients.dtype == torch.float32
            assert torch.linalg.vector_norm(gradients[piece] - one_pass) < 0.01 * torch.linalg.vector_norm(one_pass)


@pytest.mark.parametrize(("make", "expected"), FOUND)
def test_what_autocast_rounds_is_found_too(make: Callable[[], nn.Module], expected: int) -> None:
    """In bfloat16 the same layers are found, and their pieces are those of one pass each as far as these are exact."""
    _check_under_autocast(make, expected, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_autocast_rounds_is_found_on_a_device() -> None:
    """So it is on CUDA, whose products are others."""
    for make, expected in FOUND:
        _check_under_autocast(make, expected, "cuda")


def test_products_are_exact_inside_autocast() -> None:
    """Losses that are told inside of autocast give the bits that they give outside, from two passes either way."""
    torch.manual_seed(0)
    model = plain()
    passes = []
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(torch.randn(24, 5)).float().square().mean(dim=1)
        losses.register_hook(lambda _: passes.append(1))
        inside = pieces_of(losses, GROUPS, dict(model.named_parameters()))
    assert len(passes) == 2
    outside = pieces_of(losses, GROUPS, dict(model.named_parameters()))
    assert len(passes) == 4
    assert torch.equal(inside.gradients, outside.gradients)


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
