"""Conflict between groups agrees with its definition, and noise is not taken for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oracles import pulls as oracle
from plastikit.probes import (
    GradientConflict,
    gradient_conflict_fraction,
    gradient_cosine,
    gradient_cosine_floor,
    gradient_norm_ratio,
)
from plastikit.watch.pieces import pieces_of
from plastikit.watch.probe import Capture, Pieces, Probe

ALL = (gradient_cosine, gradient_conflict_fraction, gradient_norm_ratio, gradient_cosine_floor)


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh())
        self.heads = nn.ModuleList([nn.Linear(7, 2), nn.Linear(7, 2)])

    def forward(self, inputs: Tensor, groups: Tensor) -> Tensor:
        features = self.trunk(inputs)
        return torch.where(groups[:, None] == 0, self.heads[0](features), self.heads[1](features))


def _random(pieces: int, entries: int = 40, *, seed: int = 0) -> Tensor:
    return torch.randn(pieces, entries, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_real_network_agrees_with_the_oracle() -> None:
    """A network of two heads: every value equals that of gradients taken sample by sample on the trunk."""
    torch.manual_seed(0)
    model = _TwoHeads().double()
    inputs, targets = torch.randn(23, 6, dtype=torch.float64), torch.randn(23, 2, dtype=torch.float64)
    groups = torch.tensor([0, 0, 1] * 8)[:23]
    losses = (model(inputs, groups) - targets).square().mean(dim=1)
    reading = GradientConflict()(Capture(network="n", pieces=pieces_of(losses, groups, dict(model.named_parameters()))))
    trunk = list(model.trunk.parameters())
    rows = np.stack(
        [
            np.concatenate([entry.numpy().ravel() for entry in torch.autograd.grad(one, trunk, retain_graph=True)])
            for one in losses
        ]
    )
    by_group = [rows[groups.numpy() == group] for group in (0, 1)]
    cosine, conflict, ratio = oracle.between(by_group)
    assert reading["gradient_cosine"]["n"].item() == pytest.approx(cosine, rel=1e-9)
    assert reading["gradient_conflict_fraction"]["n"].item() == conflict
    assert reading["gradient_norm_ratio"]["n"].item() == pytest.approx(ratio, rel=1e-9)
    floor = oracle.halves([[samples[k::4] for k in range(4)] for samples in by_group])
    assert reading["gradient_cosine_floor"]["n"].item() == pytest.approx(floor, rel=1e-9)
    assert reading.keys() == {definition.variable for definition in GradientConflict().definitions}
    assert isinstance(GradientConflict(), Probe)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """Four groups with unequal pieces, out of order, in every precision."""
    samples = torch.tensor([3, 1, 2, 2, 5, 1, 4])
    groups = torch.tensor([7, 0, 7, 2, 0, 9, 2])
    given = _random(7).to(dtype)
    exact = given.double().numpy()
    by_group = [
        [np.repeat(exact[[k]], int(samples[k]), axis=0) for k in range(7) if groups[k] == group]
        for group in (7, 0, 2, 9)
    ]
    wanted = [*oracle.between([np.concatenate(pieces) for pieces in by_group]), oracle.halves(by_group)]
    found = [measure(given, groups, samples).item() for measure in ALL]
    assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_known_answers() -> None:
    """Same direction, opposite, at right angles; the scale of a gradient shows in the norm ratio alone."""
    groups = torch.tensor([0, 1, 2])
    alike = torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    assert gradient_cosine(alike, groups).item() == 1
    assert gradient_conflict_fraction(alike, groups).item() == 0
    assert gradient_norm_ratio(alike, groups).item() == pytest.approx((0.5 + 0.25 + 0.5) / 3)
    mixed = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    assert gradient_cosine(mixed, groups).item() == pytest.approx(-1 / 3)
    assert gradient_conflict_fraction(mixed, groups).item() == pytest.approx(1 / 3)


def test_fewer_than_two_groups_is_nan() -> None:
    """One group conflicts with nothing; one piece has no halves."""
    one = torch.zeros(4, dtype=torch.int64)
    assert [math.isnan(measure(_random(4), one).item()) for measure in ALL] == [True, True, True, False]
    assert math.isnan(gradient_cosine_floor(_random(3), torch.arange(3)).item())
    assert all(math.isnan(measure(_random(0), one[:0]).item()) for measure in ALL)
    assert all(math.isnan(measure(torch.zeros(4, 0), torch.arange(4)).item()) for measure in ALL)


def test_a_gradient_of_zero_has_no_direction() -> None:
    """Its pairs count for no cosine; the others do, and its norm counts in the ratio."""
    given = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    groups = torch.arange(3)
    assert gradient_cosine(given, groups).item() == 1
    assert gradient_norm_ratio(given, groups).item() == pytest.approx(1 / 3)
    assert math.isnan(gradient_cosine(torch.zeros(2, 3), torch.arange(2)).item())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_is_not_hidden(value: float) -> None:
    """One entry that is not finite leaves nothing measured."""
    given = _random(4)
    given[1, 3] = value
    assert all(math.isnan(measure(given, torch.tensor([0, 0, 1, 1])).item()) for measure in ALL)


def test_noise_alone_lies_at_the_floor() -> None:
    """Groups of one aim and much noise: the cosine between them is what the floor says, corrected for its halves."""
    generator = torch.Generator().manual_seed(0)
    aim = torch.randn(2000, generator=generator)
    pieces = aim + 2 * torch.randn(40, 2000, generator=generator)
    groups = torch.arange(10).repeat_interleave(4)
    floor = gradient_cosine_floor(pieces, groups).item()
    assert floor == pytest.approx(1 / (1 + 4 / 2), abs=0.03)
    assert gradient_cosine(pieces, groups).item() == pytest.approx(2 * floor / (1 + floor), abs=0.03)


def test_without_pieces_there_is_no_reading() -> None:
    """Where nobody told the losses, nothing is read; a group of one piece each has no floor."""
    assert GradientConflict()(Capture(network="n")) == {}
    pieces = Pieces(gradients=_random(2), groups=torch.arange(2), samples=torch.ones(2))
    reading = GradientConflict()(Capture(network="n", pieces=pieces))
    assert math.isnan(reading["gradient_cosine_floor"]["n"].item())
    assert -1 <= reading["gradient_cosine"]["n"].item() <= 1
