"""How many directions of its feature space a layer still uses; all ranks of a layer come from one decomposition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.partition import Partition, partitions
from plastikit.probes.spectra import centred, moments_of, smaller_gram, spectra
from plastikit.probes.together import add, alike
from plastikit.schema import GROUP, LAYER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

DELTA: Final = 0.01
EPSILON: Final = 0.01

_KUMAR: Final = "Kumar et al. 2021, Implicit Under-Parameterization, arXiv:2010.14498"
_ROY: Final = "Roy & Vetterli 2007, The effective rank: a measure of effective dimensionality, EUSIPCO"
_LYLE: Final = (
    "Lyle et al. 2022, Understanding and Preventing Capacity Loss in Reinforcement Learning, arXiv:2204.09560"
)
_RUDELSON: Final = "Rudelson & Vershynin 2007, Sampling from large matrices, arXiv:math/0503442"
_MOALLA: Final = "Moalla et al. 2024, No Representation, No Trust, arXiv:2405.00662"


def singular_values(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "rank"]:
    """Singular values of the feature matrix, largest first, in float64.

    Those of float64 features are computed from the features. For any other precision they come from the smaller Gram
    matrix, which squares the conditioning: below about sqrt(min(sample, unit)) · 1.5e-8 of the largest they are noise,
    which lies under the rounding of float32 features, and are set to 0.

    Range: [0, ∞); min(sample, unit) of them.  NaN: all of them, where any feature is not finite.
    Cost: one Gram product and one ``eigvalsh``, both in float64; one ``svdvals`` for float64 features.

    >>> singular_values(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    tensor([4., 3.], dtype=torch.float64)
    """
    return spectra([features])[0][0]


def srank(features: Float[Tensor, "sample unit"], delta: float = DELTA) -> Float[Tensor, ""]:
    """How many singular values hold 1 - ``delta`` of their sum.

    It sums σ, not σ²: the same rule over σ² is the PCA rank, and the two must not be mixed.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature; no samples.
    Cost: one eigendecomposition.  Reference: Kumar et al. 2021, arXiv:2010.14498.

    >>> srank(torch.diag(torch.tensor([1.0, 1.0, 0.001])))
    tensor(2., dtype=torch.float64)
    """
    return _leading(_sigma(features), delta)


def effective_rank(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Exponential of the entropy of the normalised singular values: a rank that counts weak directions in part.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature; no samples.
    Cost: one eigendecomposition.  Reference: Roy & Vetterli 2007, The effective rank, EUSIPCO.

    >>> round(float(effective_rank(torch.eye(4))), 6)
    4.0
    """
    return _effective_rank(_sigma(features))


def feature_rank(
    features: Float[Tensor, "sample unit"],
    epsilon: float = EPSILON,
    *,
    is_averaged: bool = True,
) -> Float[Tensor, ""]:
    """How many singular values of the features, divided by the root of the number of samples, exceed ``epsilon``.

    Absolute: scaling the features changes it. Published plots often omit the division, ``is_averaged=False``; then it
    grows with the batch.

    Range: [0, min(sample, unit)].  NaN: any non-finite feature; no samples.
    Cost: one eigendecomposition.  Reference: Lyle et al. 2022, arXiv:2204.09560.

    >>> feature_rank(torch.diag(torch.tensor([1.0, 0.015])))
    tensor(2., dtype=torch.float64)
    """
    scale = len(features) ** 0.5 if is_averaged else 1.0
    return _above(_sigma(features), epsilon * scale)


def pca_rank(features: Float[Tensor, "sample unit"], delta: float = DELTA) -> Float[Tensor, ""]:
    """How many singular values hold 1 - ``delta`` of the sum of their squares.

    Not centred, in spite of its name: the mean activation counts as a direction. Never larger than srank.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature; no samples.
    Cost: one eigendecomposition.  Reference: Moalla et al. 2024, arXiv:2405.00662.

    >>> pca_rank(torch.diag(torch.tensor([10.0, 1.0])))
    tensor(1., dtype=torch.float64)
    """
    return _leading(_sigma(features).square(), delta)


def stable_rank(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Sum of the squared singular values over the largest of them: how evenly the energy is spread.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature; no samples.
    Cost: one eigendecomposition.  Reference: Rudelson & Vershynin 2007, arXiv:math/0503442.

    >>> stable_rank(torch.diag(torch.tensor([2.0, 1.0])))
    tensor(1.2500, dtype=torch.float64)
    """
    return _stable_rank(_sigma(features))


def numerical_rank(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """How many singular values stand out from rounding: above max(sample, unit) · machine epsilon of the largest.

    The epsilon is that of the features' own precision, as in ``torch.linalg.matrix_rank``. Half precision resolves
    little: from 1024 samples or units on in float16, and from 128 on in bfloat16, nothing stands out.

    Range: [1, min(sample, unit)]; 0 where all features are 0.
    NaN: any non-finite feature; no samples; a precision in which nothing could stand out.
    Cost: one eigendecomposition.

    >>> numerical_rank(torch.ones(4, 3))
    tensor(1., dtype=torch.float64)
    """
    sigma = _sigma(features)
    return _above(sigma, sigma[..., 0] * _rounding(features))


def participation_ratio(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """(Σλ)² / Σλ² of the covariance of the features: how many principal components share the variance.

    Centred, other than the other ranks here: it does not see the mean activation.

    Range: [1, min(sample - 1, unit)]; 0 where no feature varies.  NaN: any non-finite feature; no samples.
    Cost: one Gram product in float64.

    >>> round(float(participation_ratio(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))), 6)
    2.0
    """
    wide, _ = centred([features])
    return _participation(moments_of(smaller_gram(wide)))[0]


@dataclass(frozen=True)
class FeatureRank:
    """Ranks of each layer's features, and the ceiling that the batch and the width set them."""

    delta: float = DELTA
    epsilon: float = EPSILON
    is_averaged: bool = True

    name = "rank"
    tier = Tier.PERIODIC
    needs = Needs.FEATURES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the eleven variables."""
        constants: dict[str, dict[str, float | bool]] = {
            "srank": {"delta": self.delta},
            "pca_rank": {"delta": self.delta},
            "feature_rank": {"epsilon": self.epsilon, "averaged": self.is_averaged},
        }
        passports = []
        for prefix, line in product(("", "group_"), _TEXTS.strip().splitlines()):
            definition, reference, description, pitfalls = (part.strip() for part in line.split("|"))
            rank = definition.partition("/")[0]
            passport = Definition(
                variable=f"{prefix}{rank}",
                id=f"{prefix}{definition}",
                long_name=rank.replace("_", " ") + (" by group" if prefix else ""),
                units="1",
                dims=(LAYER, GROUP) if prefix else (LAYER,),
                description=description + (" On the samples of one group (task) alone." if prefix else ""),
                valid_range="[1, inf)" if rank == "rank_ceiling" else "[0, rank_ceiling]; 0 where all features are 0",
                pitfalls=f"{pitfalls}. No rank exceeds rank_ceiling: read them side by side",
                reference=reference,
                cost="one eigendecomposition of the smaller Gram matrix in float64, for all ranks of a layer or group",
                parameters={**constants.get(rank, {}), "centred": rank == "participation_ratio"},
            )
            passports.append(passport)
        return tuple(passport for passport in passports if passport.variable in {*_OF_LAYERS, *_OF_GROUPS})

    def __call__(self, capture: Capture) -> Reading:
        """Decompose each layer once, and each group of its samples, and read every rank from that."""
        if not capture.features:
            return {}
        reading: dict[str, Rows] = {}
        for layers in alike(capture.features):
            for variable, values in self._ranks([capture.features[layer] for layer in layers]).items():
                add(reading, variable, layers, values)
        for layer, groups in partitions(capture.groups).items():
            for variable, values in self._group_ranks(capture.features[layer], groups).items():
                add(reading, variable, (layer,), values)
        return reading

    def _ranks(self, layers: Sequence[Tensor]) -> dict[str, Float[Tensor, "layer"]]:
        """Every rank of layers that are alike."""
        sigma, moments = spectra(layers)
        sigma = _known(sigma)
        ceiling = _ceiling(layers[0])
        return {
            "srank": _leading(sigma, self.delta),
            "effective_rank": _effective_rank(sigma),
            "feature_rank": _above(sigma, self.epsilon * (len(layers[0]) ** 0.5 if self.is_averaged else 1.0)),
            "pca_rank": _leading(sigma.square(), self.delta),
            "stable_rank": _stable_rank(sigma),
            "numerical_rank": _above(sigma, sigma[:, 0] * _rounding(layers[0])),
            "participation_ratio": _participation(moments),
            "rank_ceiling": torch.full((len(layers),), ceiling, dtype=sigma.dtype, device=sigma.device),
        }

    def _group_ranks(
        self, features: Float[Tensor, "sample unit"], groups: Partition
    ) -> dict[str, Float[Tensor, "1 group"]]:
        """The ranks of each group, of 0, 1, ... up to the largest; NaN for one without samples."""
        parts = groups.split(features)
        nothing = torch.full((len(_OF_GROUPS),), math.nan, dtype=torch.float64, device=features.device)
        found: dict[int, Tensor] = {}
        for members in groups.of_size.values():
            sigma, _ = spectra([parts[group] for group in members])
            ceiling = sigma.new_full((len(members),), _ceiling(parts[members[0]]))
            ranks = torch.stack([_leading(sigma, self.delta), _effective_rank(sigma), ceiling], dim=1)
            found |= zip(members, ranks.to(torch.float64).unbind(), strict=True)
        of_groups = torch.stack([found.get(group, nothing) for group in range(len(groups.counts))], dim=1)
        return dict(zip(_OF_GROUPS, of_groups.unsqueeze(1).unbind(), strict=True))


def _sigma(features: Tensor) -> Tensor:
    return _known(spectra([features])[0])[0]


def _known(sigma: Float[Tensor, "row rank"]) -> Float[Tensor, "row rank"]:
    """NaN where there are no values, from which nothing follows."""
    return sigma if sigma.shape[1] else sigma.new_full((len(sigma), 1), math.nan)


def _rounding(features: Tensor) -> float:
    """The share of the largest singular value that rounding can make up; NaN where that is all of it."""
    share = max(features.shape) * torch.finfo(features.dtype).eps
    return share if share < 1 else math.nan


def _leading(weights: Float[Tensor, "*row rank"], delta: float) -> Float[Tensor, "*row"]:
    total = weights.sum(dim=-1)
    short = (weights.cumsum(dim=-1) < (1 - delta) * total[..., None]).sum(dim=-1)
    return _of_positive(total, (short + 1).clamp(max=weights.shape[-1]))


def _effective_rank(sigma: Float[Tensor, "*row rank"]) -> Float[Tensor, "*row"]:
    total = sigma.sum(dim=-1)
    share = sigma / torch.where(total > 0, total, 1.0)[..., None]
    return _of_positive(total, torch.special.entr(share).sum(dim=-1).exp())


def _stable_rank(sigma: Float[Tensor, "*row rank"]) -> Float[Tensor, "*row"]:
    share = sigma / torch.where(sigma[..., :1] > 0, sigma[..., :1], 1.0)
    return share.square().sum(dim=-1)


def _above(sigma: Float[Tensor, "*row rank"], bound: Tensor | float) -> Float[Tensor, "*row"]:
    bound = torch.as_tensor(bound, dtype=sigma.dtype, device=sigma.device)
    count = (sigma > bound[..., None]).sum(dim=-1).to(sigma.dtype)
    return count + (sigma[..., 0] + bound) * 0


def _participation(moments: Float[Tensor, "*row 2"]) -> Float[Tensor, "*row"]:
    trace, norm = moments.unbind(dim=-1)
    return _of_positive(trace, (trace / torch.where(norm > 0, norm, 1.0)).square())


def _of_positive(total: Tensor, value: Tensor) -> Tensor:
    """The value; 0 where there is nothing to share out, and NaN where that is unknown."""
    return torch.where(total > 0, value, 0.0).to(total.dtype) + (total - total)


def _ceiling(matrix: Tensor) -> float:
    return float(min(matrix.shape)) or math.nan


_OF_LAYERS: Final = (
    *("srank", "effective_rank", "feature_rank", "pca_rank", "stable_rank", "numerical_rank"),
    *("participation_ratio", "rank_ceiling"),
)
_OF_GROUPS: Final = ("group_srank", "group_effective_rank", "group_rank_ceiling")

_MEAN: Final = "A large mean activation alone lowers it"
_ABSOLUTE: Final = (
    "Grows with the scale of the features. Published plots often omit the division, and then it grows with the batch"
)
_SQUARES: Final = "The same rule over squared singular values is the PCA rank, and gives smaller numbers"
_TEXTS: Final = f"""
srank/kumar2021 | {_KUMAR} | Smallest k whose k largest singular values sum to 1 - delta of all or more. | {_SQUARES}
effective_rank/roy2007 | {_ROY} | Exponential of the entropy of the singular values over their sum. | {_MEAN}
feature_rank/lyle2022 | {_LYLE} | Number of singular values above epsilon, over the root of samples. | {_ABSOLUTE}
pca_rank/moalla2024 | {_MOALLA} | The rule of srank over the squares of the singular values. | {_MEAN}
stable_rank/rudelson2007 | {_RUDELSON} | Sum of the squared singular values over the largest of them. | {_MEAN}
numerical_rank/matrix_rank | | Singular values above max(samples, units) machine epsilons of the largest. | By dtype
participation_ratio/centred | | Squared sum of the covariance's eigenvalues over the sum of their squares. | Centred
rank_ceiling/min_sample_unit | | The smaller of the numbers of samples and of units. | Differs between batch sizes
"""
