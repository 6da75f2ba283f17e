"""How much each attention head contributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import HEAD, LAYER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier


def head_norm(features: Float[Tensor, "sample unit"], heads: int) -> Float[Tensor, "head"]:
    """Mean over samples of the Euclidean norm of each head's output: a head near 0 adds nothing.

    The units are divided into ``heads`` equal blocks, one after the other, before the output projection; that
    projection may still enlarge or silence a head.

    Range: [0, ∞), in the units of the activation.  NaN: a NaN output of the head; no samples.
    Cost: one pass over ``features``; half precision is summed in float32.

    >>> head_norm(torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]), heads=2)
    tensor([3., 0.])
    """
    blocks = features.unflatten(1, (heads, -1))
    norms: Tensor = torch.linalg.vector_norm(blocks, dim=2, dtype=torch.promote_types(features.dtype, torch.float32))
    return norms.mean(dim=0)


@dataclass(frozen=True)
class HeadNorm:
    """Norm of the output of each attention head."""

    name = "attention"
    tier = Tier.STEP
    needs = Needs.FEATURES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passport of the one variable."""
        return (
            Definition(
                variable="head_norm",
                id="head_norm/mean_euclidean",
                long_name="norm of each attention head",
                units="activation",
                dims=(LAYER, HEAD),
                description="Mean over samples of the Euclidean norm of a head's output, before the output projection.",
                valid_range="[0, inf)",
                pitfalls="Grows with the root of the head's width. The output projection may still silence a large "
                "head or enlarge a small one",
                reference="",
                cost="one pass over the outputs of the attention layers",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every attention layer."""
        norms = {
            layer: head_norm(capture.features[layer], heads)
            for layer, heads in capture.heads.items()
            if layer in capture.features
        }
        return {"head_norm": norms} if norms else {}
