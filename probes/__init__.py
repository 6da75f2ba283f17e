"""What can be measured, one idea per file, imported as ``plastikit.probes``."""

if __name__ != "plastikit.probes":
    raise ImportError(f"imported as {__name__!r}, where its classes would be doubles: import plastikit.probes instead")

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from plastikit.probes.adam import AdamMoments, adam_update_rms, second_moment_root, small_second_moment_fraction
from plastikit.probes.attention import HeadNorm, head_norm
from plastikit.probes.conflict import (
    GradientConflict,
    gradient_conflict_fraction,
    gradient_cosine,
    gradient_cosine_floor,
    gradient_norm_ratio,
)
from plastikit.probes.dormancy import (
    DormantFraction,
    dormant_fraction,
    group_dormant_intersection,
    group_dormant_union,
    unit_activation,
    unit_score,
)
from plastikit.probes.gradients import (
    GradientNorm,
    gradient_max,
    gradient_norm,
    gradient_rms,
    gradient_zero_fraction,
)
from plastikit.probes.grama import GradientDormancy, grama_dormant_fraction, unit_gradient
from plastikit.probes.noise import GradientNoise, gradient_noise_scale, gradient_signal_to_noise
from plastikit.probes.optimizer import UpdateRatio, effective_learning_rate, update_to_weight_ratio
from plastikit.probes.parameters import (
    WeightNorm,
    distance_from_init,
    relative_distance_from_init,
    weight_mean_absolute,
    weight_norm,
    weight_rms,
)
from plastikit.probes.rank import (
    FeatureRank,
    effective_rank,
    feature_rank,
    numerical_rank,
    participation_ratio,
    pca_rank,
    singular_values,
    srank,
    stable_rank,
)
from plastikit.probes.saturation import (
    Saturation,
    dead_fraction,
    linearised_fraction,
    pre_activation_norm,
    saturated_fraction,
    saturated_unit_fraction,
    sign_entropy,
    zero_fraction,
)
from plastikit.probes.spectral import SpectralNorm, spectral_norm, weight_stable_rank
from plastikit.watch.probe import Probe

PROBES: Final[Mapping[str, Callable[[], Probe]]] = MappingProxyType(
    {
        DormantFraction.name: DormantFraction,
        Saturation.name: Saturation,
        FeatureRank.name: FeatureRank,
        GradientDormancy.name: GradientDormancy,
        HeadNorm.name: HeadNorm,
        WeightNorm.name: WeightNorm,
        GradientNorm.name: GradientNorm,
        UpdateRatio.name: UpdateRatio,
        SpectralNorm.name: SpectralNorm,
        AdamMoments.name: AdamMoments,
        GradientConflict.name: GradientConflict,
        GradientNoise.name: GradientNoise,
    }
)
"""What ``probes=`` may name, and the probe that each name stands for."""

__all__ = [
    "PROBES",
    "AdamMoments",
    "DormantFraction",
    "FeatureRank",
    "GradientConflict",
    "GradientDormancy",
    "GradientNoise",
    "GradientNorm",
    "HeadNorm",
    "Saturation",
    "SpectralNorm",
    "UpdateRatio",
    "WeightNorm",
    "adam_update_rms",
    "dead_fraction",
    "distance_from_init",
    "dormant_fraction",
    "effective_learning_rate",
    "effective_rank",
    "feature_rank",
    "gradient_conflict_fraction",
    "gradient_cosine",
    "gradient_cosine_floor",
    "gradient_max",
    "gradient_noise_scale",
    "gradient_norm",
    "gradient_norm_ratio",
    "gradient_rms",
    "gradient_signal_to_noise",
    "gradient_zero_fraction",
    "grama_dormant_fraction",
    "group_dormant_intersection",
    "group_dormant_union",
    "head_norm",
    "linearised_fraction",
    "numerical_rank",
    "participation_ratio",
    "pca_rank",
    "pre_activation_norm",
    "relative_distance_from_init",
    "saturated_fraction",
    "saturated_unit_fraction",
    "second_moment_root",
    "sign_entropy",
    "singular_values",
    "small_second_moment_fraction",
    "spectral_norm",
    "srank",
    "stable_rank",
    "unit_activation",
    "unit_gradient",
    "unit_score",
    "update_to_weight_ratio",
    "weight_mean_absolute",
    "weight_norm",
    "weight_rms",
    "weight_stable_rank",
    "zero_fraction",
]
