"""How much of a gradient is signal, and how much is the luck of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plastikit.schema import NETWORK, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

EPSILON: Final = 1e-5

_MCCANDLISH: Final = "McCandlish et al. 2018, An Empirical Model of Large-Batch Training, arXiv:1812.06162"
_LIU: Final = (
    "Liu et al. 2020, Understanding Why Neural Networks Generalize Well Through GSNR of Parameters, arXiv:2001.07384; "
    "averaged over entries as in Schneider et al. 2021, Cockpit, arXiv:2102.06604"
)
_COST: Final = (
    "two backward passes where layers keep samples in rows, else one for each piece of the batch; and two passes "
    "over their gradients"
)


def gradient_noise_scale(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"] | None = None,
    samples: Float[Tensor, "piece"] | None = None,
) -> Float[Tensor, ""]:
    """Variance of one sample's gradient over the squared norm of the mean: the batch size at which noise equals signal.

    The simple noise scale. ``gradients`` are of single samples, or means over pieces of as many ``samples`` each.
    Both parts are unbiased estimates. With groups (tasks) the variance is that within them, each counted by its
    share of the samples: a batch that always holds the same mixture has no noise from it.

    Their ratio is biased, and wild where noise is large: average over records before reading much into one.

    Range: [0, ∞), in samples.
    NaN: a group with a single piece; an estimate of the squared norm of 0 or below, where the batch is too small to
    tell the gradient from 0; any non-finite entry.
    Cost: two passes over the gradients.
    Reference: McCandlish et al. 2018, arXiv:1812.06162.

    >>> gradient_noise_scale(torch.tensor([[1.0, 1.0], [3.0, 1.0]]))
    tensor(0.5000)
    """
    variance, mean, samples_in_all = _moments(gradients, groups, samples, correction=1)
    trace = variance.sum()
    signal = mean.square().sum() - trace / samples_in_all
    return torch.where(signal > 0, trace / signal, torch.nan)


def gradient_signal_to_noise(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"] | None = None,
    samples: Float[Tensor, "piece"] | None = None,
    *,
    epsilon: float = EPSILON,
    correction: int = 1,
) -> Float[Tensor, ""]:
    """Squared mean over variance of each entry of the gradient, averaged over entries: high where samples agree.

    ``epsilon`` is added to each variance. It has the units of a squared gradient: where gradients are small it is
    most of the denominator, so compare values of one scale of the loss only.

    Args:
        gradients: Of single samples, or means over pieces of as many ``samples`` each.
        groups: The group (task) of each piece: the variance is then that within groups.
        samples: How many samples a piece has; 1 where left out.
        epsilon: Keeps entries without variance finite.
        correction: 1 for the unbiased variance, 0 for that of the samples at hand, as cockpit takes it.

    Range: [0, ∞).  NaN: a group with no more pieces than ``correction``; any non-finite entry.
    Cost: two passes over the gradients.
    Reference: Liu et al. 2020, arXiv:2001.07384.

    >>> gradient_signal_to_noise(torch.tensor([[1.0, 1.0], [3.0, 2.0]]), epsilon=0.0)
    tensor(3.2500)
    """
    variance, mean, _ = _moments(gradients, groups, samples, correction=correction)
    return (mean.square() / (variance + epsilon)).mean()


@dataclass(frozen=True)
class GradientNoise:
    """Noise scale and signal-to-noise ratio of each network's gradient."""

    epsilon: float = EPSILON

    name = "noise"
    tier = Tier.PERIODIC
    needs = Needs.LOSSES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the two variables."""
        return (
            Definition(
                variable="gradient_noise_scale",
                id="gradient_noise_scale/mccandlish2018",
                long_name="gradient noise scale",
                units="samples",
                dims=(NETWORK,),
                description="Trace of the covariance of one sample's gradient over the squared norm of the mean "
                "gradient, both unbiased, from pieces of one batch; with groups (tasks), of that within them.",
                valid_range="[0, inf)",
                pitfalls="NaN where the batch is too small to tell the gradient from 0, which leaves the noisiest "
                "records out of an average. From a handful of pieces one value is uncertain by half; average over "
                "records. Shared parameters only, and the losses as they were handed over",
                reference=_MCCANDLISH,
                cost=_COST,
            ),
            Definition(
                variable="gradient_signal_to_noise",
                id="gradient_signal_to_noise/liu2020",
                long_name="gradient signal-to-noise ratio",
                units="1",
                dims=(NETWORK,),
                description="Squared mean over variance of each entry of the gradient of one sample, averaged over "
                "entries; with groups (tasks), over the variance within them.",
                valid_range="[0, inf)",
                pitfalls="epsilon has the units of a squared gradient and is most of the denominator where gradients "
                "are small: scaling the loss changes the value. From few pieces a variance is uncertain, and the mean "
                "of one over it comes out too large. The squared mean holds noise too: pure noise gives about 1 / "
                "batch size, not 0",
                reference=_LIU,
                cost=_COST,
                parameters={"epsilon": self.epsilon, "correction": 1},
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure where the monitor was told the loss of each sample."""
        if capture.pieces is None or not capture.pieces.gradients.numel():
            return {}
        pieces = capture.pieces
        variance, mean, count = _moments(pieces.gradients, pieces.groups, pieces.samples, correction=1)
        trace = variance.sum()
        signal = mean.square().sum() - trace / count
        return {
            "gradient_noise_scale": {capture.network: torch.where(signal > 0, trace / signal, torch.nan)},
            "gradient_signal_to_noise": {
                capture.network: (mean.square() / (variance + self.epsilon)).mean(),
            },
        }


def _moments(
    gradients: Tensor, groups: Tensor | None, samples: Tensor | None, *, correction: int
) -> tuple[Float[Tensor, "entry"], Float[Tensor, "entry"], Float[Tensor, ""]]:
    """Variance of one sample's gradient within its group, mean gradient, and the number of samples."""
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    pieces = wide.shape[0]
    if not pieces:
        nothing = wide.new_full((wide.shape[1],), torch.nan)
        return nothing, nothing, wide.new_zeros(())
    same = torch.ones(pieces, pieces, dtype=torch.bool, device=wide.device)
    if groups is not None:
        same = groups.to(wide.device)[:, None] == groups.to(wide.device)
    counts = torch.ones(pieces, dtype=wide.dtype, device=wide.device) if samples is None else samples.to(wide)
    total = counts.sum()
    members = same * counts
    of_group = members.sum(dim=1, keepdim=True)
    deviation = wide - (members / of_group) @ wide
    # A piece of n samples deviates by 1 / n of what a sample does; a group of k pieces shows k - 1 deviations.
    freedom = same.sum(dim=1) - correction
    share = counts * of_group[:, 0] / total / torch.where(freedom > 0, freedom, torch.nan)
    return share @ deviation.square(), (counts / total) @ wide, total
