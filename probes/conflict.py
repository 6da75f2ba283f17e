"""Whether groups (tasks) pull the weights that they share in different directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plastikit.schema import NETWORK, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

_YU: Final = "Yu et al. 2020, Gradient Surgery for Multi-Task Learning, arXiv:2001.06782"
_PITFALLS: Final = (
    "On shared parameters only: a head of one group alone is orthogonal to the others by construction. Noise pulls "
    "cosines towards 0: read them beside gradient_cosine_floor. Gradients of the losses as they were handed over, "
    "before clipping and before the optimizer"
)
_COST: Final = (
    "two backward passes where layers keep samples in rows, else one for each piece of the batch; and the products of "
    "their gradients"
)


def gradient_cosine(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"],
    samples: Float[Tensor, "piece"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cosine between the gradients of two groups: 1 where all pull alike, below 0 where they work against.

    A group's gradient is the mean over its pieces, weighted by their samples. Pairs in which a gradient is 0 have no
    direction and are left out.

    Range: [-1, 1].  NaN: fewer than two groups with a gradient; any non-finite entry.
    Cost: the products of all pieces with each other.
    Reference: Yu et al. 2020, arXiv:2001.06782.

    >>> gradient_cosine(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([0, 1]))
    tensor(0.6000, dtype=torch.float64)
    """
    return _between(_products(gradients), groups, _weights(gradients, samples))[0]


def gradient_conflict_fraction(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"],
    samples: Float[Tensor, "piece"] | None = None,
) -> Float[Tensor, ""]:
    """Share of pairs of groups whose gradients have a cosine below 0: a step for one undoes some of the other's.

    Of gradients that are noise alone half of the pairs conflict.

    Range: [0, 1].  NaN: fewer than two groups with a gradient; any non-finite entry.
    Cost: the products of all pieces with each other.
    Reference: Yu et al. 2020, arXiv:2001.06782.

    >>> gradient_conflict_fraction(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]), torch.tensor([0, 1]))
    tensor(1., dtype=torch.float64)
    """
    return _between(_products(gradients), groups, _weights(gradients, samples))[1]


def gradient_norm_ratio(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"],
    samples: Float[Tensor, "piece"] | None = None,
) -> Float[Tensor, ""]:
    """Mean, over pairs of groups, of the smaller gradient norm over the larger: near 0 where one drowns the other.

    Range: [0, 1]; 0 where one of the two is 0.  NaN: no pair with a gradient; any non-finite entry.
    Cost: the products of all pieces with each other.
    Reference: Yu et al. 2020, arXiv:2001.06782.

    >>> gradient_norm_ratio(torch.tensor([[1.0, 0.0], [-3.0, 4.0]]), torch.tensor([0, 1]))
    tensor(0.2000, dtype=torch.float64)
    """
    return _between(_products(gradients), groups, _weights(gradients, samples))[2]


def gradient_cosine_floor(
    gradients: Float[Tensor, "piece entry"],
    groups: Int[Tensor, "piece"],
    samples: Float[Tensor, "piece"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cosine between two halves of one group: what ``gradient_cosine`` would be if groups did not differ.

    The halves are the even and the odd pieces of a group. Each has half of its samples, so the floor lies lower than
    the cosine that two groups of one aim would have: about 2c / (1 + c) of them for a floor of c. A cosine
    between groups that is well below the floor is conflict; one near it may be noise alone.

    Range: [-1, 1].  NaN: no group of two pieces with a gradient; any non-finite entry.
    Cost: the products of all pieces with each other.

    >>> gradient_cosine_floor(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.7071, dtype=torch.float64)
    """
    return _within(_products(gradients), groups, _weights(gradients, samples))


@dataclass(frozen=True)
class GradientConflict:
    """Cosines and norm ratios between the gradients of groups on shared parameters, and the noise floor of them."""

    name = "conflict"
    tier = Tier.PERIODIC
    needs = Needs.LOSSES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the four variables."""
        return (
            _passport(
                "gradient_cosine",
                "yu2020",
                "gradient cosine between groups",
                "Cosine between the gradients of two groups (tasks) on shared parameters, mean over all pairs.",
                "[-1, 1]",
            ),
            _passport(
                "gradient_conflict_fraction",
                "yu2020",
                "share of groups in conflict",
                "Share of pairs of groups (tasks) whose gradients on shared parameters have a cosine below 0.",
                "[0, 1]; of noise alone 0.5",
            ),
            _passport(
                "gradient_norm_ratio",
                "smaller_over_larger",
                "gradient norm ratio between groups",
                "Smaller over larger norm of the gradients of two groups on shared parameters, mean over all pairs.",
                "[0, 1]",
            ),
            _passport(
                "gradient_cosine_floor",
                "split_half",
                "noise floor of the gradient cosine",
                "Cosine between the gradients of two halves of one group's samples, mean over groups. Compare "
                "gradient_cosine with it: with c for the floor, groups that want the same would show about "
                "2c / (1 + c), since a half has half of the samples.",
                "[-1, 1]",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Compare the groups where the monitor was told the loss of each sample."""
        if capture.pieces is None:
            return {}
        pieces = capture.pieces
        products, weights = _products(pieces.gradients), _weights(pieces.gradients, pieces.samples)
        cosine, conflict, ratio = _between(products, pieces.groups, weights)
        return {
            "gradient_cosine": {capture.network: cosine},
            "gradient_conflict_fraction": {capture.network: conflict},
            "gradient_norm_ratio": {capture.network: ratio},
            "gradient_cosine_floor": {capture.network: _within(products, pieces.groups, weights)},
        }


def _products(gradients: Tensor) -> Float[Tensor, "piece piece"]:
    """All inner products, in double precision from here on: what follows is small."""
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    return (wide @ wide.mT).to(torch.float64)


def _weights(gradients: Tensor, samples: Tensor | None) -> Float[Tensor, "piece"]:
    if samples is None:
        return torch.ones(gradients.shape[0], dtype=torch.float64, device=gradients.device)
    return samples.to(device=gradients.device, dtype=torch.float64)


def _between(products: Tensor, groups: Tensor, weights: Tensor) -> list[Float[Tensor, ""]]:
    """Mean cosine, share of cosines below 0 and mean norm ratio of the pairs of groups."""
    same = groups[:, None] == groups
    means = _means(same, weights)
    inner = means @ products @ means.mT
    norms = inner.diagonal().clamp(min=0).sqrt()
    # Each group has a row for each of its pieces, all alike: the first stands for it.
    is_first = ~same.tril(-1).any(dim=1)
    pairs = (is_first[:, None] & is_first).triu(1)
    both, larger = norms[:, None] * norms, torch.maximum(norms[:, None], norms)
    cosine = inner / both
    conflict = torch.where(cosine.isnan(), torch.nan, (cosine < 0).to(cosine.dtype))
    ratio = torch.minimum(norms[:, None], norms) / larger
    has_angle = pairs & (both != 0)
    return [_mean(cosine, has_angle), _mean(conflict, has_angle), _mean(ratio, pairs & (larger != 0))]


def _within(products: Tensor, groups: Tensor, weights: Tensor) -> Float[Tensor, ""]:
    """Mean cosine between the even and the odd pieces of a group."""
    same = groups[:, None] == groups
    earlier = same.tril(-1)
    is_odd = earlier.sum(dim=1) % 2 == 1
    halves = [_means(same & (is_odd == side), weights) for side in (False, True)]
    inner = ((halves[0] @ products) * halves[1]).sum(dim=1)
    squares = [((half @ products) * half).sum(dim=1).clamp(min=0) for half in halves]
    both = (squares[0] * squares[1]).sqrt()
    has_halves = (same & is_odd).any(dim=1)
    return _mean(inner / both, ~earlier.any(dim=1) & has_halves & (both != 0))


def _means(members: Bool[Tensor, "piece piece"], weights: Tensor) -> Float[Tensor, "piece piece"]:
    """For each piece, what the pieces of its group count in their mean."""
    counted = members * weights
    total = counted.sum(dim=1, keepdim=True)
    return counted / total.masked_fill(total == 0, torch.inf)


def _mean(values: Tensor, chosen: Tensor) -> Float[Tensor, ""]:
    """Mean of the chosen values; NaN where there is none."""
    return torch.where(chosen, values, 0.0).sum() / chosen.sum()


def _passport(variable: str, rule: str, long_name: str, description: str, valid_range: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/{rule}",
        long_name=long_name,
        units="1",
        dims=(NETWORK,),
        description=description,
        valid_range=valid_range,
        pitfalls=_PITFALLS,
        reference=_YU,
        cost=_COST,
    )
