"""The tanh-squashed Gaussian policy, as functions of the actor's outputs (means, then logarithms of deviations)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def sample_action(
    outputs: Float[Tensor, "*batch output"],
    noise: Float[Tensor, "*batch action"],
    *,
    log_std_min: float,
    log_std_max: float,
) -> tuple[Float[Tensor, "*batch action"], Float[Tensor, "*batch"]]:
    """Turn standard normal ``noise`` into actions in (-1, 1) and the logarithm of their density."""
    mean, log_std = outputs.chunk(2, dim=-1)
    log_std = log_std.clamp(log_std_min, log_std_max)
    before_tanh = torch.addcmul(mean, log_std.exp(), noise)
    # log(1 - tanh(u)^2) written so that it stays finite where tanh(u) rounds to 1.
    log_slope = 2.0 * (math.log(2.0) - before_tanh - softplus(-2.0 * before_tanh))
    log_density = -0.5 * noise.square() - log_std - _HALF_LOG_TWO_PI - log_slope
    return before_tanh.tanh(), log_density.sum(dim=-1)


def typical_action(outputs: Float[Tensor, "*batch output"]) -> Float[Tensor, "*batch action"]:
    """Give the action that evaluation takes: tanh of the mean, no noise."""
    return outputs.chunk(2, dim=-1)[0].tanh()
