"""Gradient statistics agree with what published implementations gave."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plastikit.probes import gradient_signal_to_noise
from plastikit.watch.pieces import pieces_of

PUBLISHED = json.loads(Path(__file__).with_name("published_gradients.json").read_text(encoding="utf-8"))


def _wave(shape: tuple[int, ...], phase: float) -> Tensor:
    return torch.sin(phase + 1.7 * torch.arange(math.prod(shape), dtype=torch.float64)).reshape(shape)


def _problem(case: dict[str, Any]) -> tuple[nn.Module, Tensor]:
    """The network that the published numbers were taken from, and the loss of each sample."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    for k, parameter in enumerate(model.parameters()):
        parameter.data = _wave(tuple(parameter.shape), float(k))
    inputs = _wave((case["samples"], 3), 0.3)
    targets = case["target_scale"] * _wave((case["samples"], 2), 0.9)
    return model, (model(inputs) - targets).square()


@pytest.mark.parametrize("case", PUBLISHED["mean_gsnr"], ids=lambda case: f"{case['samples']}-{case['target_scale']}")
def test_signal_to_noise_is_that_of_cockpit(case: dict[str, Any]) -> None:
    """On gradients of single samples, with the variance that cockpit takes, its mean_gsnr comes out."""
    model, losses = _problem(case)
    rows = [
        torch.cat(
            [entry.reshape(-1) for entry in torch.autograd.grad(one, list(model.parameters()), retain_graph=True)]
        )
        for one in losses.mean(dim=1)
    ]
    found = gradient_signal_to_noise(torch.stack(rows), epsilon=case["epsilon"], correction=0)
    assert found.item() == pytest.approx(case["mean_gsnr"], rel=1e-5)


def test_pieces_of_one_sample_are_its_gradients() -> None:
    """Where a batch is cut down to single samples, the pieces give cockpit's number as well."""
    case = PUBLISHED["mean_gsnr"][0]
    model, losses = _problem(case)
    pieces = pieces_of(losses, None, dict(model.named_parameters()))
    assert pieces.samples.tolist() == [1] * 6
    found = gradient_signal_to_noise(
        pieces.gradients, pieces.groups, pieces.samples, epsilon=case["epsilon"], correction=0
    )
    assert found.item() == pytest.approx(case["mean_gsnr"], rel=1e-5)
