"""The tanh-squashed Gaussian policy."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from plastikit.train.policy import sample_action, typical_action


def test_density_equals_that_of_torchs_transformed_distribution() -> None:
    """Action and log density agree with an independent formulation."""
    outputs = 0.3 * torch.randn(2, 5, 8, dtype=torch.float64)  # torch inverts tanh badly where it saturates
    noise = torch.randn(2, 5, 4, dtype=torch.float64)
    action, log_density = sample_action(outputs, noise, log_std_min=-20.0, log_std_max=2.0)
    mean, log_std = outputs.chunk(2, dim=-1)
    squashed = TransformedDistribution(Independent(Normal(mean, log_std.exp()), 1), [TanhTransform()])
    torch.testing.assert_close(action, (mean + log_std.exp() * noise).tanh())
    torch.testing.assert_close(log_density, squashed.log_prob(action))


def test_deviation_is_clipped() -> None:
    """Outside the range the deviation is the range's end."""
    outputs = torch.tensor([[0.0, 0.0, 50.0, -50.0]])
    action, _ = sample_action(outputs, torch.full((1, 2), 0.1), log_std_min=-1.0, log_std_max=2.0)
    expected = (0.1 * torch.tensor([[2.0, -1.0]]).exp()).tanh()
    torch.testing.assert_close(action, expected)


def test_density_stays_finite_where_tanh_saturates() -> None:
    """A mean of 100 rounds to the action 1, and its density is still a number with a gradient."""
    outputs = torch.tensor([[100.0, -100.0, 0.0, 0.0]], requires_grad=True)
    action, log_density = sample_action(outputs, torch.zeros(1, 2), log_std_min=-20.0, log_std_max=2.0)
    log_density.sum().backward()
    assert action.abs().max() == 1.0
    assert log_density.isfinite().all()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_the_typical_action_is_tanh_of_the_mean() -> None:
    """Evaluation draws nothing."""
    outputs = torch.tensor([[0.5, -2.0, 1.0, 1.0]])
    torch.testing.assert_close(typical_action(outputs), torch.tensor([[0.5, -2.0]]).tanh())
