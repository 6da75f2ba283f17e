"""Dormant units: those that hardly fire beside the rest of their layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plastikit.probes.columns import absolute_sums, column_sums, wide
from plastikit.probes.partition import Partition, partition, partitions
from plastikit.probes.together import add, alike, pooled
from plastikit.schema import GROUP, LAYER, NETWORK, TAU, UNIT, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

TAUS: Final = (0.0, 0.001, 0.025, 0.1)

_SOKAR: Final = "Sokar et al. 2023, The Dormant Neuron Phenomenon in Deep RL, arXiv:2302.12902, eq. 1"
_PITFALLS: Final = (
    "Relative by design: shrinking every unit alike is invisible, and a few huge units make the rest dormant. "
    "tau = 0 finds nothing with GELU, SiLU or tanh, which are never exactly 0. A small batch overcounts, and a batch "
    "of more tasks gives each unit more chances to fire"
)
_COST: Final = "one pass over the activations"
_NEVER_NEGATIVE: Final = frozenset({"relu", "relu6", "sigmoid", "hardsigmoid", "softplus"})


def unit_activation(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    """Mean |activation| of each unit, from which every dormancy threshold can be chosen afterwards.

    Range: [0, ∞), in the units of the activation.  NaN: a non-finite activation of the unit.
    Cost: one pass over ``features``; half precision is summed in float32.

    >>> unit_activation(torch.tensor([[0.0, -1.0], [0.0, 3.0]]))
    tensor([0., 2.])
    """
    return column_sums([features.abs()])[0] / len(features)


def unit_score(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    """Mean |activation| of each unit over the mean of its layer: 1 is a unit like the others, 0 a silent one.

    Range: [0, number of units].  NaN: any non-finite activation.  A wholly silent layer scores 0 throughout.
    Cost: one pass over ``features``.
    Reference: Sokar et al. 2023, arXiv:2302.12902, eq. 1.

    >>> unit_score(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    tensor([0., 2.])
    """
    activation = unit_activation(features)
    mean = activation.mean()
    score = torch.where(mean == 0, torch.zeros_like(activation), activation / mean)
    # Finite activations whose mean overflows would all score 0.
    return torch.where(torch.isfinite(mean), score, torch.nan)


def dormant_fraction(features: Float[Tensor, "sample unit"], tau: float = 0.025) -> Float[Tensor, ""]:
    """Share of units whose mean |activation| is at most ``tau`` of the layer's mean.

    Relative by design: shrinking every unit alike leaves it unchanged.

    Range: [0, 1]; a wholly silent layer is 1.  NaN: any non-finite activation.
    Cost: one pass over ``features``; stays on the device.
    Reference: Sokar et al. 2023, arXiv:2302.12902.

    >>> dormant_fraction(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    tensor(0.5000)
    """
    return dormant_shares(unit_activation(features), (tau,))[0]


def group_dormant_intersection(
    features: Float[Tensor, "sample unit"],
    groups: Int[Tensor, "sample"],
    tau: float = 0.025,
) -> Float[Tensor, ""]:
    """Share of units that are dormant for every group: no task uses them.

    Groups without samples are left out.

    Range: [0, dormant fraction of the least dormant group].  NaN: any non-finite activation; no samples at all.
    Cost: one sorted copy of ``features`` and one pass over it; waits once for the device.
    Reference: the threshold of Sokar et al. 2023, arXiv:2302.12902, applied to each group alone.

    >>> features = torch.tensor([[0.0, 0.0, 5.0], [0.0, 5.0, 5.0]])
    >>> group_dormant_intersection(features, torch.tensor([0, 1]))
    tensor(0.3333)
    """
    return _by_group(features, partition(groups), (tau,)).intersection[0]


def group_dormant_union(
    features: Float[Tensor, "sample unit"],
    groups: Int[Tensor, "sample"],
    tau: float = 0.025,
) -> Float[Tensor, ""]:
    """Share of units that are dormant for at least one group: what is specialised, and what is lost.

    Groups without samples are left out.

    Range: [dormant fraction of the most dormant group, 1].  NaN: any non-finite activation; no samples at all.
    Cost: one sorted copy of ``features`` and one pass over it; waits once for the device.
    Reference: the threshold of Sokar et al. 2023, arXiv:2302.12902, applied to each group alone.

    >>> features = torch.tensor([[0.0, 0.0, 5.0], [0.0, 5.0, 5.0]])
    >>> group_dormant_union(features, torch.tensor([0, 1]))
    tensor(0.6667)
    """
    return _by_group(features, partition(groups), (tau,)).union[0]


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
        """Passports of the six variables."""
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
            _fraction(
                "group_dormant_intersection",
                "units dormant for every group",
                (LAYER, TAU),
                "Share of units that are dormant for every group (task) that has samples in the batch, each group "
                "measured alone.",
            ),
            _fraction(
                "group_dormant_union",
                "units dormant for some group",
                (LAYER, TAU),
                "Share of units that are dormant for at least one group (task) that has samples in the batch, each "
                "group measured alone.",
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
        if not capture.features:
            return {}
        reading: dict[str, Rows] = {}
        shares = []
        for layers in alike(capture.features, lambda layer: capture.functions.get(layer) in _NEVER_NEGATIVE):
            features = [capture.features[layer] for layer in layers]
            is_never_negative = capture.functions.get(layers[0]) in _NEVER_NEGATIVE
            sums = column_sums(features) if is_never_negative else absolute_sums(features)
            activation = sums / len(features[0])
            share = dormant_shares(activation, self.taus)
            add(reading, "unit_activation", layers, activation)
            add(reading, "dormant_fraction", layers, share)
            shares.append((share, activation.shape[1]))
        if not capture.unreadable:
            add(reading, "network_dormant_fraction", (capture.network,), pooled(shares))
        by_group = {
            layer: _by_group(
                capture.features[layer],
                groups,
                self.taus,
                is_never_negative=capture.functions.get(layer) in _NEVER_NEGATIVE,
            )
            for layer, groups in partitions(capture.groups).items()
        }
        if not by_group:
            return reading
        return reading | {
            "group_dormant_fraction": {layer: row.fractions for layer, row in by_group.items()},
            "group_dormant_intersection": {layer: row.intersection for layer, row in by_group.items()},
            "group_dormant_union": {layer: row.union for layer, row in by_group.items()},
        }


class _ByGroup(NamedTuple):
    fractions: Float[Tensor, "group tau"]
    """Of groups 0, 1, ... up to the largest; NaN for one without samples."""
    intersection: Float[Tensor, "tau"]
    union: Float[Tensor, "tau"]


def _by_group(
    features: Tensor, groups: Partition, taus: Sequence[float], *, is_never_negative: bool = False
) -> _ByGroup:
    nothing = torch.full((len(taus),), torch.nan, dtype=wide(features.dtype), device=features.device)
    parts = groups.split(features)
    activations: dict[int, Tensor] = {}
    for count, members in groups.of_size.items():
        own = [parts[group] for group in members]
        sums = column_sums(own) if is_never_negative else absolute_sums(own)
        activations |= zip(members, (sums / count).unbind(), strict=True)
    if not activations:
        return _ByGroup(nothing.repeat(len(groups.counts), 1), nothing, nothing)
    present = sorted(activations)
    dormant, mean = _dormant(torch.stack([activations[group] for group in present]), taus)
    shares = dict(zip(present, _share(dormant, mean).unbind(), strict=True))
    fractions = torch.stack([shares.get(group, nothing) for group in range(len(groups.counts))])
    worst = mean.sum(dim=0)
    return _ByGroup(fractions, _share(dormant.all(dim=0), worst), _share(dormant.any(dim=0), worst))


def dormant_shares(scores: Float[Tensor, "*row unit"], taus: Sequence[float]) -> Float[Tensor, "*row tau"]:
    """Share of units whose score is at most each of ``taus`` of the mean over their row; NaN where that is not finite.

    >>> dormant_shares(torch.tensor([0.0, 1.0, 2.0, 5.0]), (0.0, 0.5))
    tensor([0.2500, 0.5000])
    """
    return _share(*_dormant(scores, taus))


def _dormant(scores: Float[Tensor, "*row unit"], taus: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Which units are dormant at each threshold, [*row, tau, unit]; and the mean score, [*row, 1]."""
    rows = scores.unsqueeze(-2)
    mean = rows.mean(dim=-1, keepdim=True)
    return rows <= mean * _thresholds(tuple(taus), scores.dtype, scores.device), mean.squeeze(-1)


def _share(dormant: Bool[Tensor, "*row tau unit"], mean: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row tau"]:
    # What is added is 0, and NaN where the mean is not finite.
    return torch.add(dormant.mean(dim=-1, dtype=mean.dtype), mean, alpha=0)


@lru_cache(maxsize=16)
def _thresholds(taus: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Float[Tensor, "tau 1"]:
    with torch.inference_mode(mode=False):
        return torch.tensor(taus, dtype=dtype, device=device).unsqueeze(-1)


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
