"""Dormant units: those that hardly fire beside the rest of their layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
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
_NEVER_NEGATIVE: Final = frozenset({"relu", "relu6", "sigmoid", "hardsigmoid", "softplus"})
_RUNS: Final = 16
_LARGE: Final = 2**17


def unit_activation(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    """Mean |activation| of each unit, from which every dormancy threshold can be chosen afterwards.

    Range: [0, ∞), in the units of the activation.  NaN: a non-finite activation of the unit.
    Cost: one pass over ``features``; half precision is summed in float32.

    >>> unit_activation(torch.tensor([[0.0, -1.0], [0.0, 3.0]]))
    tensor([0., 2.])
    """
    return _unit_mean(features.abs())


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
    return _share(*_dormant(unit_activation(features), (tau,)))[0]


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
    return _by_group(features, groups, (tau,)).intersection[0]


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
    return _by_group(features, groups, (tau,)).union[0]


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
        activation = {
            layer: _unit_mean(features)
            if capture.functions.get(layer) in _NEVER_NEGATIVE
            else unit_activation(features)
            for layer, features in capture.features.items()
        }
        fractions: dict[str, Tensor] = {}
        dormant = []
        for layers in _of_one_width(activation):
            share = _share(*_dormant(torch.stack([activation[layer] for layer in layers]), self.taus))
            fractions |= dict(zip(layers, share.unbind(), strict=True))
            dormant.append(share.sum(dim=0) * activation[layers[0]].numel())
        reading = {"unit_activation": activation, "dormant_fraction": fractions}
        if not capture.unreadable:
            units = sum(means.numel() for means in activation.values())
            whole = dormant[0] if len(dormant) == 1 else torch.stack(dormant).sum(dim=0)
            reading["network_dormant_fraction"] = {capture.network: whole / units}
        if capture.groups:
            rows = {
                layer: _by_group(capture.features[layer], groups, self.taus) for layer, groups in capture.groups.items()
            }
            reading["group_dormant_fraction"] = {layer: row.fractions for layer, row in rows.items()}
            reading["group_dormant_intersection"] = {layer: row.intersection for layer, row in rows.items()}
            reading["group_dormant_union"] = {layer: row.union for layer, row in rows.items()}
        return reading


class _ByGroup(NamedTuple):
    fractions: Float[Tensor, "group tau"]
    """Of groups 0, 1, ... up to the largest; NaN for one without samples."""
    intersection: Float[Tensor, "tau"]
    union: Float[Tensor, "tau"]


def _by_group(features: Tensor, groups: Int[Tensor, "sample"], taus: Sequence[float]) -> _ByGroup:
    counts = torch.bincount(groups, minlength=1).tolist()
    of_groups = features[groups.argsort(stable=True)].split(counts)
    present = [group for group, count in enumerate(counts) if count]
    wide = _wide(features.dtype)
    fractions = torch.full((len(counts), len(taus)), torch.nan, dtype=wide, device=features.device)
    if not present:
        nothing = torch.full((len(taus),), torch.nan, dtype=wide, device=features.device)
        return _ByGroup(fractions, nothing, nothing)
    dormant, mean = _dormant(torch.stack([unit_activation(of_groups[group]) for group in present]), taus)
    fractions[present] = _share(dormant, mean)
    worst = mean.sum(dim=0)
    return _ByGroup(fractions, _share(dormant.all(dim=0), worst), _share(dormant.any(dim=0), worst))


def _dormant(activation: Float[Tensor, "*row unit"], taus: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Which units are dormant at each threshold, [*row, unit, tau]; and the mean activation, [*row, 1]."""
    mean = activation.mean(dim=-1, keepdim=True)
    limits = mean * torch.tensor(taus, dtype=activation.dtype, device=activation.device)
    return activation.unsqueeze(-1) <= limits.unsqueeze(-2), mean


def _share(dormant: Bool[Tensor, "*row unit tau"], mean: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row tau"]:
    # The difference is 0, and NaN where the mean is not finite.
    return dormant.sum(dim=-2, dtype=mean.dtype) / dormant.shape[-2] + (mean - mean)


def _of_one_width(activation: Mapping[str, Tensor]) -> Iterable[list[str]]:
    """The layers that can be measured as one tensor."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for layer, means in activation.items():
        alike.setdefault((means.numel(), means.dtype, means.device), []).append(layer)
    return alike.values()


def _unit_mean(magnitudes: Float[Tensor, "sample unit"]) -> Float[Tensor, "unit"]:
    samples, units = magnitudes.shape
    wide = _wide(magnitudes.dtype)
    if samples % _RUNS or samples * units < _LARGE:
        return magnitudes.sum(dim=0, dtype=wide) / samples
    # Each core adds up the rows that it holds in its cache; summing all rows at once would fetch half from the other.
    runs: Tensor = magnitudes.unflatten(0, (_RUNS, -1))
    return runs.sum(dim=1, dtype=wide).sum(dim=0) / samples


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
