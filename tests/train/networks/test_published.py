"""Outputs and gradients of every architecture are those of the published implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles.published_networks import (
    ACTION,
    DEPTH,
    OBSERVATION,
    ROLES,
    SAMPLES,
    TASKS,
    WIDTH,
    carry_over,
    joined,
    published_layout,
    wave,
)
from plastikit.train.config import NetworkConfig
from plastikit.train.networks.architectures import build_network
from plastikit.train.published import ARCHITECTURES

FIXTURE = Path(__file__).parents[1] / "published" / "networks.json"
PUBLISHED: dict[str, dict[str, Any]] = json.loads(FIXTURE.read_text(encoding="utf-8"))["architectures"]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def build(architecture: str, role: str, dtype: torch.dtype) -> nn.Module:
    """Our network of the size that was compared, with the weights that the published one had."""
    is_actor = role == "actor"
    network = build_network(
        NetworkConfig(
            architecture=architecture,
            width=WIDTH,
            depth=DEPTH,
            part_count=2 if architecture == "soft_modules" else None,
        ),
        task_count=TASKS,
        feature_size=OBSERVATION if is_actor else ACTION + OBSERVATION,
        output_size=2 * ACTION if is_actor else 1,
        output_range=1.0,
        generator=torch.Generator(),
    ).to(dtype)
    carry_over(architecture, network, role)
    return network


def differentiate(network: nn.Module, role: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Outputs, and the gradient of the inputs; those of the parameters stay with them."""
    is_actor = role == "actor"
    width = OBSERVATION if is_actor else ACTION + OBSERVATION
    features = wave((TASKS, SAMPLES, width), 0 if is_actor else 1).to(dtype).requires_grad_()
    rows = TASKS * SAMPLES
    pull = wave((rows, 2 * ACTION), 2) if is_actor else wave((2, rows, 1), 3)[int(role[-1])]
    outputs: Tensor = network(features)
    (outputs.flatten(0, 1) * pull.to(dtype)).sum().backward()
    assert features.grad is not None
    return outputs.detach(), features.grad


def assert_close(found: Tensor, expected: list[float], dtype: torch.dtype) -> None:
    """Equal to within a share of the largest entry."""
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert (found.double().flatten() - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_outputs_and_weight_gradients_are_the_published(architecture: str, role: str, dtype: torch.dtype) -> None:
    """With the published weights carried over, each output and each weight's gradient comes out."""
    network = build(architecture, role, dtype)
    outputs, _ = differentiate(network, role, dtype)
    expected = PUBLISHED[architecture][role]
    assert_close(outputs, expected["outputs"], dtype)

    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    layout = published_layout(architecture, gradients)
    assert layout.keys() == expected["parameter_gradients"].keys()
    for path, of_path in expected["parameter_gradients"].items():
        gradient = joined(layout[path]).double()
        assert list(gradient.shape) == of_path["shape"]
        # A sum can cancel; what it may be off by is a share of what was summed.
        margin = TOLERANCE[dtype] * of_path["norm"] * gradient.numel() ** 0.5
        assert gradient.norm().item() == pytest.approx(of_path["norm"], rel=TOLERANCE[dtype]), path
        assert gradient.sum().item() == pytest.approx(of_path["sum"], abs=margin), path
        projection = (gradient * wave(tuple(gradient.shape), 1000)).sum().item()
        assert projection == pytest.approx(of_path["projection"], abs=margin), path


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_of_the_inputs_are_the_published(architecture: str, dtype: torch.dtype) -> None:
    """What flows back to the observations, and through both critics to the actions, comes out."""
    gradients = {role: differentiate(build(architecture, role, dtype), role, dtype)[1] for role in ROLES}
    expected = PUBLISHED[architecture]
    assert_close(gradients["actor"], expected["actor"]["input_gradient"], dtype)
    assert_close(gradients["critic_0"] + gradients["critic_1"], expected["critics_input_gradient"], dtype)
