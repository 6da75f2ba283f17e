"""What the gradients say: how large they are, and how much of them is exactly zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier

_PITFALLS = (
    "What the optimizer sees: after clipping, accumulation and unscaling where the training does them before the "
    "optimizer's step. A parameter without a gradient is NaN, not 0"
)


def gradient_norm(gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Frobenius norm of a gradient, as the optimizer sees it.

    Range: [0, ∞).  NaN: any non-finite entry gives NaN or ∞.  Cost: one pass over the gradient.

    >>> gradient_norm(torch.tensor([3.0, -4.0]))
    tensor(5.)
    """
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=_wide(gradient))
    return norm


def gradient_zero_fraction(gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Share of a gradient's entries that are exactly zero: weights that this batch cannot move.

    Range: [0, 1].  NaN: a gradient without entries.  Cost: one pass over the gradient.

    >>> gradient_zero_fraction(torch.tensor([0.0, 2.0, 0.0, 1.0]))
    tensor(0.5000)
    """
    return (gradient == 0).to(_wide(gradient)).mean()


@dataclass(frozen=True)
class GradientNorm:
    """Norm and zero fraction of each parameter's gradient, and of each network's."""

    name = "gradients"
    tier = Tier.STEP
    needs = Needs.GRADIENTS

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the four variables."""
        whole = "over all parameters of the network that have one"
        return (
            _passport("gradient_norm", "gradient norm", (PARAMETER,), "Frobenius norm of a parameter's gradient."),
            _passport(
                "gradient_zero_fraction",
                "zero fraction of the gradient",
                (PARAMETER,),
                "Share of the entries of a parameter's gradient that are exactly 0.",
            ),
            _passport(
                "network_gradient_norm",
                "gradient norm of the network",
                (NETWORK,),
                f"Norm of the gradient {whole}.",
            ),
            _passport(
                "network_gradient_zero_fraction",
                "zero fraction of the network's gradient",
                (NETWORK,),
                f"Share of the entries of the gradient that are exactly 0, {whole}.",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Measure every gradient there is; the network's values need to know of all of its weights."""
        gradients = {name: gradient for name, gradient in capture.gradients.items() if gradient is not None}
        if not gradients:
            return {}
        norm = {name: gradient_norm(gradient) for name, gradient in gradients.items()}
        zero = {name: gradient_zero_fraction(gradient) for name, gradient in gradients.items()}
        reading = {"gradient_norm": norm, "gradient_zero_fraction": zero}
        if capture.weights - capture.gradients.keys():
            return reading
        entries = sum(gradient.numel() for gradient in gradients.values())
        zeros = torch.stack([zero[name] * gradient.numel() for name, gradient in gradients.items()]).sum()
        return reading | {
            "network_gradient_norm": {capture.network: torch.linalg.vector_norm(torch.stack(list(norm.values())))},
            "network_gradient_zero_fraction": {capture.network: zeros / entries},
        }


def _wide(gradient: Tensor) -> torch.dtype:
    return torch.promote_types(gradient.dtype, torch.float32)


def _passport(variable: str, long_name: str, dims: tuple[str, ...], description: str) -> Definition:
    is_norm = variable.endswith("norm")
    return Definition(
        variable=variable,
        id=f"{variable}/{'frobenius' if is_norm else 'exact_zero'}",
        long_name=long_name,
        units="loss / weight" if is_norm else "1",
        dims=dims,
        description=description,
        valid_range="[0, inf)" if is_norm else "[0, 1]",
        pitfalls=_PITFALLS,
        reference="",
        cost="one pass over the gradients",
    )
