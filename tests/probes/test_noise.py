"""Noise scale and signal-to-noise agree with their definitions and find the noise that was put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from oracles import pulls as oracle
from plastikit.probes import GradientNoise, gradient_noise_scale, gradient_signal_to_noise
from plastikit.watch.probe import Capture, Pieces, Probe


def _samples(count: int, entries: int = 30, *, noise: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(entries, generator=generator, dtype=torch.float64)
    return mean + noise * torch.randn(count, entries, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """Gradients of single samples, in groups and in one, in every precision."""
    given = _samples(12).to(dtype)
    exact = given.double().numpy()
    groups = torch.tensor([0, 0, 0, 4, 4, 1] * 2)
    by_group = [exact[groups.numpy() == group] for group in (0, 1, 4)]
    assert gradient_noise_scale(given).item() == pytest.approx(oracle.noise_scale([exact]), rel=1e-5)
    assert gradient_noise_scale(given, groups).item() == pytest.approx(oracle.noise_scale(by_group), rel=1e-5)
    found = gradient_signal_to_noise(given, groups, epsilon=0.01).item()
    assert found == pytest.approx(oracle.signal_to_noise(by_group, 0.01), rel=1e-5)
    found = gradient_signal_to_noise(given).item()
    assert found == pytest.approx(oracle.signal_to_noise([exact], 1e-5), rel=1e-5)


def test_pieces_estimate_what_samples_do() -> None:
    """Means over pieces give, on average over draws, the variance of one sample and the norm of the true mean."""
    traces, squares = [], []
    mean = _samples(1, noise=0.0)[0]
    counts = torch.tensor([5, 5, 4, 6, 3, 3])
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    for seed in range(300):
        generator = torch.Generator().manual_seed(1000 + seed)
        drawn = 2 * torch.randn(6, 30, generator=generator, dtype=torch.float64) / counts[:, None].sqrt()
        pieces = mean + drawn
        scale = gradient_noise_scale(pieces, groups, counts).item()
        whole = (counts[:, None] * pieces).sum(dim=0) / 26
        # From scale = trace / (|g|^2 - trace / 26), the trace.
        trace = scale * whole.square().sum().item() / (1 + scale / 26)
        traces.append(trace)
        squares.append(whole.square().sum().item() - trace / 26)
    assert np.mean(traces) == pytest.approx(4 * 30, rel=0.03)
    assert np.mean(squares) == pytest.approx(mean.square().sum().item(), rel=0.03)


def test_groups_of_different_aims_are_no_noise() -> None:
    """A batch of a fixed mixture of groups has no noise from their difference."""
    aims = torch.tensor([[10.0, 1.0], [-10.0, 1.0]], dtype=torch.float64).repeat_interleave(4, dim=0)
    jitter = 0.1 * _samples(8, 2, noise=1.0) - 0.1 * _samples(8, 2, noise=0.0)
    groups = torch.arange(2).repeat_interleave(4)
    assert gradient_noise_scale(aims + jitter, groups).item() < 1
    alone = gradient_noise_scale(aims + jitter).item()
    assert math.isnan(alone) or alone > 10


def test_too_noisy_to_tell_is_nan() -> None:
    """Where the estimate of the squared norm is not above 0 there is no ratio; without noise the scale is 0."""
    assert math.isnan(gradient_noise_scale(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item())
    assert gradient_noise_scale(torch.ones(3, 2)).item() == 0


def test_too_few_pieces_are_nan() -> None:
    """One piece of a group tells no variance, whatever the others tell."""
    groups = torch.tensor([0, 0, 1])
    assert math.isnan(gradient_noise_scale(_samples(3), groups).item())
    assert math.isnan(gradient_signal_to_noise(_samples(3), groups).item())
    assert math.isnan(gradient_noise_scale(_samples(1)).item())
    assert math.isnan(gradient_signal_to_noise(_samples(0)).item())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_is_not_hidden(value: float) -> None:
    """One entry that is not finite leaves nothing measured."""
    given = _samples(4)
    given[1, 3] = value
    assert math.isnan(gradient_noise_scale(given).item())
    assert math.isnan(gradient_signal_to_noise(given).item())


def test_probe_reads_the_pieces() -> None:
    """The probe gives what the functions give; without pieces, nothing."""
    pieces = Pieces(gradients=_samples(6), groups=torch.tensor([0, 0, 0, 1, 1, 1]), samples=torch.tensor([4, 4, 3] * 2))
    reading = GradientNoise()(Capture(network="n", pieces=pieces))
    given = (pieces.gradients, pieces.groups, pieces.samples)
    assert reading["gradient_noise_scale"]["n"] == gradient_noise_scale(*given)
    assert reading["gradient_signal_to_noise"]["n"] == gradient_signal_to_noise(*given)
    assert reading.keys() == {definition.variable for definition in GradientNoise().definitions}
    assert GradientNoise()(Capture(network="n")) == {}
    assert isinstance(GradientNoise(), Probe)
