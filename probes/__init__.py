"""What can be measured, one idea per file, imported as ``plastikit.probes``."""

if __name__ != "plastikit.probes":
    raise ImportError(f"imported as {__name__!r}, where its classes would be doubles: import plastikit.probes instead")

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from plastikit.probes.dormancy import DormantFraction, dormant_fraction, unit_activation, unit_score
from plastikit.probes.gradients import GradientNorm, gradient_norm, gradient_zero_fraction
from plastikit.probes.optimizer import UpdateRatio, update_to_weight_ratio
from plastikit.probes.parameters import WeightNorm, distance_from_init, weight_norm, weight_rms
from plastikit.probes.rank import FeatureRank, effective_rank, singular_values, srank
from plastikit.watch.probe import Probe

PROBES: Final[Mapping[str, Callable[[], Probe]]] = MappingProxyType(
    {
        DormantFraction.name: DormantFraction,
        FeatureRank.name: FeatureRank,
        WeightNorm.name: WeightNorm,
        GradientNorm.name: GradientNorm,
        UpdateRatio.name: UpdateRatio,
    }
)
"""What ``probes=`` may name, and the probe that each name stands for."""

__all__ = [
    "PROBES",
    "DormantFraction",
    "FeatureRank",
    "GradientNorm",
    "UpdateRatio",
    "WeightNorm",
    "distance_from_init",
    "dormant_fraction",
    "effective_rank",
    "gradient_norm",
    "gradient_zero_fraction",
    "singular_values",
    "srank",
    "unit_activation",
    "unit_score",
    "update_to_weight_ratio",
    "weight_norm",
    "weight_rms",
]
