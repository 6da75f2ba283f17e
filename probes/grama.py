"""Units that the loss hardly pulls at: the gradient's counterpart of dormancy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float

from plastikit.probes.columns import absolute_sums, column_sums
from plastikit.probes.dormancy import dormant_shares
from plastikit.probes.together import add, alike, pooled
from plastikit.schema import LAYER, NETWORK, UNIT, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

TAU: Final = 0.01

_LIU: Final = "Liu et al. 2025, Measure gradients, not activations!, arXiv:2505.24061"
_PITFALLS: Final = (
    "Relative by design: shrinking every gradient alike is invisible. At the activation a closed ReLU still has a "
    "gradient, at the pre-activation it has none: compare one kind only. A small batch overcounts"
)
_COST: Final = "one pass over the gradients of the activations, which the backward pass makes anyway"


def unit_gradient(gradients: Float[torch.Tensor, "sample unit"]) -> Float[torch.Tensor, "unit"]:
    """Mean over samples of the |gradient| of the loss with respect to each unit: how hard the loss pulls at it.

    |·| comes before the mean, so that samples that pull in opposite directions do not cancel. Where the loss is a mean
    over the batch, each sample's gradient holds a factor 1 / batch, and so does this.

    Range: [0, ∞), in loss per activation.  NaN: a non-finite gradient of the unit.
    Cost: one pass over ``gradients``; half precision is summed in float32.
    Reference: Liu et al. 2025, arXiv:2505.24061.

    >>> unit_gradient(torch.tensor([[0.5, -1.0], [-0.5, 3.0]]))
    tensor([0.5000, 2.0000])
    """
    return column_sums([gradients.abs()])[0] / len(gradients)


def grama_dormant_fraction(gradients: Float[torch.Tensor, "sample unit"], tau: float = TAU) -> Float[torch.Tensor, ""]:
    """Share of units whose mean |gradient| is at most ``tau`` of the layer's mean: units that cannot learn.

    Relative by design, so a factor of the batch size or of the loss changes nothing.

    Range: [0, 1]; a layer without any gradient is 1.  NaN: any non-finite gradient; no samples.
    Cost: one pass over ``gradients``.
    Reference: Liu et al. 2025, arXiv:2505.24061.

    >>> grama_dormant_fraction(torch.tensor([[0.0, -1.0], [0.0, 3.0]]))
    tensor(0.5000)
    """
    return dormant_shares(unit_gradient(gradients), (tau,))[0]


@dataclass(frozen=True)
class GradientDormancy:
    """Share of units that receive hardly any gradient, of each layer and network; and the scores behind it."""

    tau: float = TAU
    at: Literal["activation", "pre_activation"] = "activation"

    name = "grama"
    tier = Tier.STEP

    @property
    def needs(self) -> Needs:
        """The gradients of one side of the activation function."""
        return Needs.FEATURE_GRADIENTS if self.at == "activation" else Needs.PRE_GRADIENTS

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the three variables."""
        rule = "Share of units whose mean |gradient| is at most tau times the mean over the units of their layer"
        return (
            Definition(
                variable="unit_gradient",
                id="unit_gradient/mean_absolute",
                long_name="mean absolute gradient of each unit",
                units="loss / activation",
                dims=(UNIT,),
                description="Mean over samples of the |gradient| of the loss with respect to a unit. Over its layer's "
                "mean it is the GraMa score.",
                valid_range="[0, inf)",
                pitfalls="Where the loss is a mean over the batch, it is proportional to 1 / batch size",
                reference=_LIU,
                cost=_COST,
                parameters={"at": self.at},
            ),
            self._fraction("grama_dormant_fraction", "gradient-dormant fraction", LAYER, f"{rule}."),
            self._fraction(
                "network_grama_dormant_fraction",
                "gradient-dormant fraction of the network",
                NETWORK,
                f"{rule}; such units of all watched layers over all their units.",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every layer that a backward reached; the network's fraction needs all that were computed."""
        gradients = capture.feature_gradients if self.at == "activation" else capture.pre_gradients
        if not gradients:
            return {}
        reading: dict[str, Rows] = {}
        shares = []
        for layers in alike(gradients):
            score = absolute_sums([gradients[layer] for layer in layers]) / len(gradients[layers[0]])
            share = dormant_shares(score, (self.tau,))[:, 0]
            add(reading, "unit_gradient", layers, score)
            add(reading, "grama_dormant_fraction", layers, share)
            shares.append((share, score.shape[1]))
        if not capture.unreadable and not capture.features.keys() - gradients.keys():
            add(reading, "network_grama_dormant_fraction", (capture.network,), pooled(shares))
        return reading

    def _fraction(self, variable: str, long_name: str, dim: str, description: str) -> Definition:
        return Definition(
            variable=variable,
            id=f"{variable}/liu2025",
            long_name=long_name,
            units="1",
            dims=(dim,),
            description=description,
            valid_range="[0, 1]; a layer without any gradient is 1",
            pitfalls=_PITFALLS,
            reference=_LIU,
            cost=_COST,
            parameters={"tau": self.tau, "at": self.at},
        )
