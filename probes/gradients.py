"""What the gradients say: how large they are, and how much of them is exactly zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.entries import Blocks, absolute, counts, in_order, norm, together, wide
from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier

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
    return norm(_stored(gradient))


def gradient_rms(gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Root mean square of a gradient's entries: the norm that compares across widths.

    Range: [0, ∞).  NaN: a gradient without entries; a non-finite entry gives NaN or ∞.
    Cost: one pass over the gradient.

    >>> gradient_rms(torch.tensor([3.0, -3.0]))
    tensor(3.)
    """
    return gradient_norm(gradient) / gradient.numel() ** 0.5 if gradient.numel() else _nan(gradient)


def gradient_max(gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Largest |entry| of a gradient: the single weight that is pushed hardest.

    Range: [0, ∞).  NaN: any entry is NaN; a gradient without entries.  Cost: one pass over the gradient.

    >>> gradient_max(torch.tensor([3.0, -4.0]))
    tensor(4.)
    """
    if not gradient.numel():
        return _nan(gradient)
    stored = _stored(gradient)
    return stored.to(wide(stored)).abs().amax()


def gradient_zero_fraction(gradient: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Share of a gradient's entries that are exactly zero: weights that this batch cannot move.

    Range: [0, 1].  NaN: a gradient without entries.  Cost: one pass over the gradient.

    >>> gradient_zero_fraction(torch.tensor([0.0, 2.0, 0.0, 1.0]))
    tensor(0.5000)
    """
    if not gradient.numel():
        return _nan(gradient)
    return (gradient.numel() - torch.count_nonzero(_stored(gradient))) / gradient.numel()


@dataclass(frozen=True)
class GradientNorm:
    """Norm, RMS, largest entry and zero fraction of each parameter's gradient, and of each network's."""

    name = "gradients"
    tier = Tier.STEP
    needs = Needs.GRADIENTS

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the eight variables: four of each parameter, four of each network."""
        of_one = (
            _passport("gradient_norm", "frobenius", "gradient norm", "Frobenius norm of a parameter's gradient."),
            _passport(
                "gradient_rms",
                "frobenius",
                "gradient RMS",
                "Root mean square of the entries of a parameter's gradient.",
            ),
            _passport(
                "gradient_max",
                "absolute",
                "largest gradient entry",
                "Largest absolute value among the entries of a parameter's gradient.",
            ),
            _passport(
                "gradient_zero_fraction",
                "exact_zero",
                "zero fraction of the gradient",
                "Share of the entries of a parameter's gradient that are exactly 0.",
            ),
        )
        return of_one + tuple(_of_network(definition) for definition in of_one)

    def __call__(self, capture: Capture) -> Reading:
        """Measure every gradient there is; the network's values need to know of all of its weights."""
        gradients = {
            name: gradient for name, gradient in capture.gradients.items() if gradient is not None and gradient.numel()
        }
        if not gradients:
            return {}
        names = in_order(gradients, capture.weights)
        tensors = [gradients[name] for name in names]
        size, largest, filled = _measured([_stored(gradient) for gradient in tensors])
        sizes, roots = counts(tensors, like=size)
        zeros = sizes - filled
        reading = {
            "gradient_norm": Rows(names, size),
            "gradient_rms": Rows(names, size / roots),
            "gradient_max": Rows(names, largest),
            "gradient_zero_fraction": Rows(names, zeros / sizes),
        }
        if capture.weights - capture.gradients.keys():
            return reading
        network, of_all = (capture.network,), sum(gradient.numel() for gradient in tensors)
        whole = together(size)
        return reading | {
            "network_gradient_norm": Rows(network, whole),
            "network_gradient_rms": Rows(network, whole / of_all**0.5),
            "network_gradient_max": Rows(network, largest.amax(dim=0, keepdim=True)),
            "network_gradient_zero_fraction": Rows(network, zeros.sum(dim=0, keepdim=True) / of_all),
        }


def _measured(gradients: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Norms, largest absolute entries, and counts of entries that are not 0."""
    blocks = Blocks(gradients)
    sizes, extremes, filled = [], [], []
    for block in blocks.of(gradients):
        sizes.append(torch.linalg.vector_norm(block, dim=1))
        entries = absolute(block)
        extremes.append(entries.amax(dim=1))
        filled.append(entries.ne_(0).sum(dim=1))
    return blocks.norms(sizes), blocks.largest(extremes), blocks.sums(filled)


def _stored(gradient: Tensor) -> Tensor:
    """The entries that a sparse gradient stores, each once, a 0 where it stores none; the moduli of complex ones."""
    stored = gradient.coalesce().values() if gradient.is_sparse else gradient
    if not stored.numel():
        stored = stored.new_zeros(1)
    return stored.abs() if stored.is_complex() else stored


def _nan(gradient: Tensor) -> Tensor:
    return torch.full((), torch.nan, device=gradient.device)


def _passport(variable: str, rule: str, long_name: str, description: str) -> Definition:
    is_share = variable.endswith("fraction")
    return Definition(
        variable=variable,
        id=f"{variable}/{rule}",
        long_name=long_name,
        units="1" if is_share else "loss / weight",
        dims=(PARAMETER,),
        description=description,
        valid_range="[0, 1]" if is_share else "[0, inf)",
        pitfalls=_PITFALLS,
        reference="",
        cost="one pass over the gradients",
    )


def _of_network(definition: Definition) -> Definition:
    return Definition(
        variable=f"network_{definition.variable}",
        id=f"network_{definition.id}",
        long_name=f"{definition.long_name} of the network",
        units=definition.units,
        dims=(NETWORK,),
        description=f"{definition.description} Over all parameters of the network that have one, as one vector; "
        "tied weights counted once.",
        valid_range=definition.valid_range,
        pitfalls=definition.pitfalls,
        reference=definition.reference,
        cost=definition.cost,
    )
