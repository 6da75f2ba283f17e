"""Dormant units: those that hardly fire beside the rest of their layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plastikit.schema import GROUP, LAYER, NETWORK, TAU, UNIT, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

TAUS: Final = (0.0, 0.001, 0.025, 0.1)

_SOKAR: Final = "Sokar et al. 2023, The Dormant Neuron Phenomenon in Deep RL, arXiv:2302.12902, eq. 1"
_PITFALLS: Final = (
    "Relative by design: shrinking every unit alike is invisible, and a few huge units make the rest dormant. "
    "tau = 0 finds nothing with GELU, SiLU or tanh, which are never exactly 0. A small batch overcounts, and a batch "
    "of more tasks gives each unit more chances to fire"
)
_COST: Final = "one pass over the activations"


def unit_activation(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    """Mean |activation| of each unit, from which every dormancy threshold can be chosen afterwards.

    Range: [0, ∞), in the units of the activation.  NaN: a non-finite activation of the unit.
    Cost: one pass over ``features``; half precision is summed in float32.

    >>> unit_activation(torch.tensor([[0.0, -1.0], [0.0, 3.0]]))
    tensor([0., 2.])
    """
    return features.abs().mean(dim=0, dtype=_wide(features.dtype))


def unit_score(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    """Mean |activation| of each unit over the mean of its layer: 1 is a unit like the others, 0 a silent one.

    Range: [0, number of units].  NaN: any non-finite activation.  A wholly silent layer scores 0 throughout.
    Cost: one pass over ``features``.
    Reference: Sokar et al. 2023, arXiv:2302.12902, eq. 1.

    >>> unit_score(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    tensor([0., 2.])
    """
    return _relative(unit_activation(features))


def dormant_fraction(features: Float[Tensor, "sample unit"], tau: float = 0.025) -> Float[Tensor, ""]:
    """Share of units whose mean |activation| is at most ``tau`` of the layer's mean.

    Relative by design: shrinking every unit alike leaves it unchanged.

    Range: [0, 1]; a wholly silent layer is 1.  NaN: any non-finite activation.
    Cost: one pass over ``features``; stays on the device.
    Reference: Sokar et al. 2023, arXiv:2302.12902.

    >>> dormant_fraction(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    tensor(0.5000)
    """
    return _fractions(unit_activation(features), (tau,))[0]


@dataclass(frozen=True)
class DormantFraction:
    """Dormant fraction of each layer, of each network by unit counts, of each group; and the scores behind it."""

    taus: Sequence[float] = TAUS

    name = "dormancy"
    tier = Tier.STEP
    needs = Needs.FEATURES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """The thresholds."""
        return {TAU: tuple(self.taus)}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the four variables."""
        rule = "Share of units whose mean |activation| is at most tau times the mean over the units of their layer"
        return (
            _fraction("dormant_fraction", "dormant fraction", (LAYER, TAU), f"{rule}."),
            _fraction(
                "network_dormant_fraction",
                "dormant fraction of the network",
                (NETWORK, TAU),
                f"{rule}; dormant units of all watched layers over all their units.",
            ),
            _fraction(
                "group_dormant_fraction",
                "dormant fraction by group",
                (LAYER, GROUP, TAU),
                f"{rule}, on the samples of one group (task) alone.",
            ),
            Definition(
                variable="unit_activation",
                id="unit_activation/mean_absolute",
                long_name="mean absolute activation of each unit",
                units="activation",
                dims=(UNIT,),
                description="Mean |activation| of a unit over the samples. Over its layer's mean it is Sokar's score.",
                valid_range="[0, inf)",
                pitfalls="Not comparable between layers of different scale before division by the layer's mean",
                reference=_SOKAR,
                cost=_COST,
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every layer of the capture; the network's fraction needs all that were computed."""
        activation = {layer: unit_activation(features) for layer, features in capture.features.items()}
        if not activation:
            return {}
        fractions = {layer: _fractions(means, self.taus) for layer, means in activation.items()}
        reading = {"unit_activation": activation, "dormant_fraction": fractions}
        if not capture.unreadable:
            units = {layer: means.numel() for layer, means in activation.items()}
            dormant = torch.stack([fractions[layer] * units[layer] for layer in fractions]).sum(dim=0)
            reading["network_dormant_fraction"] = {capture.network: dormant / sum(units.values())}
        if capture.groups:
            reading["group_dormant_fraction"] = {
                layer: self._by_group(capture.features[layer], groups) for layer, groups in capture.groups.items()
            }
        return reading

    def _by_group(self, features: Tensor, groups: Int[Tensor, "sample"]) -> Float[Tensor, "group tau"]:
        """Fractions of groups 0, 1, ... up to the largest; NaN for one without samples."""
        rows = []
        for group in range(int(groups.max()) + 1):
            chosen = features[groups == group]
            rows.append(_fractions(unit_activation(chosen), self.taus))
        return torch.stack(rows)


def _fractions(activation: Tensor, taus: Sequence[float]) -> Float[Tensor, "tau"]:
    score = _relative(activation)
    thresholds = torch.tensor(taus, dtype=score.dtype, device=score.device)
    share = (score[:, None] <= thresholds).to(score.dtype).mean(dim=0)
    return torch.where(torch.isfinite(score).all(), share, torch.nan)


def _relative(activation: Tensor) -> Tensor:
    mean = activation.mean()
    score = torch.where(mean == 0, torch.zeros_like(activation), activation / mean)
    # Finite activations whose mean overflows would all score 0.
    return torch.where(torch.isfinite(mean), score, torch.nan)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _fraction(variable: str, long_name: str, dims: tuple[str, ...], description: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/sokar2023",
        long_name=long_name,
        units="1",
        dims=dims,
        description=description,
        valid_range="[0, 1]; a wholly silent layer is 1",
        pitfalls=_PITFALLS,
        reference=_SOKAR,
        cost=_COST,
    )
