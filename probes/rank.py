"""How many directions of its feature space a layer still uses; all ranks of a layer come from one decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import LAYER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

DELTA: Final = 0.01
_COST: Final = "one eigendecomposition of the smaller Gram matrix, in float64"


def singular_values(features: Float[Tensor, "sample unit"]) -> Float[Tensor, "rank"]:
    """Singular values of the feature matrix, largest first, in float64.

    Taken from the smaller Gram matrix, which squares the conditioning: values below about 1e-8 of the largest are
    noise of that size.

    Range: [0, ∞); min(sample, unit) of them.  NaN: all of them, where any feature is not finite.
    Cost: one Gram product and one ``eigvalsh``, both in float64.

    >>> singular_values(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]]))
    tensor([4., 3.], dtype=torch.float64)
    """
    wide = features.to(torch.float64)
    samples, units = wide.shape
    gram = wide.T @ wide if units <= samples else wide @ wide.T
    finite = torch.isfinite(gram).all()
    # eigvalsh raises on NaN; asking for the answer here would wait for the device.
    eigenvalues = torch.linalg.eigvalsh(torch.where(finite, gram, 0.0)).flip(0)
    return torch.where(finite, eigenvalues.clamp(min=0).sqrt(), torch.nan)


def srank(features: Float[Tensor, "sample unit"], delta: float = DELTA) -> Float[Tensor, ""]:
    """How many singular values hold 1 − ``delta`` of their sum.

    It sums σ, not σ²: the same rule over σ² is the PCA rank, and the two must not be mixed.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature.
    Cost: one eigendecomposition.
    Reference: Kumar et al. 2021, arXiv:2010.14498.

    >>> srank(torch.diag(torch.tensor([1.0, 1.0, 0.001])))
    tensor(2., dtype=torch.float64)
    """
    return _srank(singular_values(features), delta)


def effective_rank(features: Float[Tensor, "sample unit"]) -> Float[Tensor, ""]:
    """Exponential of the entropy of the normalised singular values: a rank that counts weak directions in part.

    Range: [1, min(sample, unit)]; 0 where all features are 0.  NaN: any non-finite feature.
    Cost: one eigendecomposition.
    Reference: Roy & Vetterli 2007, The effective rank, EUSIPCO.

    >>> round(float(effective_rank(torch.eye(4))), 6)
    4.0
    """
    return _effective_rank(singular_values(features))


@dataclass(frozen=True)
class FeatureRank:
    """Ranks of each layer's features, and the ceiling that the batch and the width set them."""

    delta: float = DELTA

    name = "rank"
    tier = Tier.PERIODIC
    needs = Needs.FEATURES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the three variables."""
        return (
            Definition(
                variable="srank",
                id="srank/kumar2021",
                long_name="srank",
                units="1",
                dims=(LAYER,),
                description="Smallest k such that the k largest singular values of the features sum to at least 1 - "
                "delta of all. Not centred; counts from 1.",
                valid_range="[1, rank_ceiling]; 0 where all features are 0",
                pitfalls="Capped at min(samples, units): read it beside rank_ceiling. The same rule over squared "
                "singular values is the PCA rank and gives smaller numbers",
                reference="Kumar et al. 2021, Implicit Under-Parameterization, arXiv:2010.14498",
                cost=_COST,
                parameters={"delta": self.delta, "centred": False},
            ),
            Definition(
                variable="effective_rank",
                id="effective_rank/roy2007",
                long_name="effective rank",
                units="1",
                dims=(LAYER,),
                description="Exponential of the entropy of the singular values over their sum. Not centred.",
                valid_range="[1, rank_ceiling]; 0 where all features are 0",
                pitfalls="Capped at min(samples, units); a large mean activation alone lowers it, since features are "
                "not centred",
                reference="Roy & Vetterli 2007, The effective rank: a measure of effective dimensionality, EUSIPCO",
                cost=_COST,
                parameters={"centred": False},
            ),
            Definition(
                variable="rank_ceiling",
                id="rank_ceiling/min_sample_unit",
                long_name="largest rank possible",
                units="1",
                dims=(LAYER,),
                description="The smaller of the numbers of samples and of units: no rank of this layer can exceed it.",
                valid_range="[1, inf)",
                pitfalls="Runs of different batch size have different ceilings",
                reference="",
                cost="none",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Decompose each layer once and read every rank from it."""
        spectra = {layer: singular_values(features) for layer, features in capture.features.items()}
        return {
            "srank": {layer: _srank(sigma, self.delta) for layer, sigma in spectra.items()},
            "effective_rank": {layer: _effective_rank(sigma) for layer, sigma in spectra.items()},
            "rank_ceiling": {
                layer: torch.tensor(float(sigma.numel()), device=sigma.device) for layer, sigma in spectra.items()
            },
        }


def _srank(sigma: Tensor, delta: float) -> Tensor:
    total = sigma.sum()
    short = (sigma.cumsum(dim=0) < (1 - delta) * total).sum().to(sigma.dtype)
    rank = (short + 1).clamp(max=sigma.numel())
    return torch.where(torch.isfinite(total), torch.where(total > 0, rank, 0.0), torch.nan)


def _effective_rank(sigma: Tensor) -> Tensor:
    total = sigma.sum()
    share = sigma / torch.where(total > 0, total, 1.0)
    rank = torch.special.entr(share).sum().exp()
    return torch.where(torch.isfinite(total), torch.where(total > 0, rank, 0.0), torch.nan)
