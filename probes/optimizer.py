"""How far one update of the optimizer moves the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Tier


def update_to_weight_ratio(before: Float[Tensor, "..."], after: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Norm of one update over the norm of what it updates: the step size that the function feels.

    Range: [0, ∞).  NaN: a parameter of norm 0 before the update, such as a fresh bias.
    Cost: a copy of the parameters and one pass.

    >>> update_to_weight_ratio(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    tensor(0.1000)
    """
    update, weight = _norms(before, after)
    return torch.where(weight > 0, update / weight, torch.nan)


@dataclass(frozen=True)
class UpdateRatio:
    """Update-to-weight ratio of each parameter and, over its weights alone, of each network."""

    name = "updates"
    tier = Tier.STEP
    needs = Needs.PARAMETERS | Needs.UPDATES

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the two variables."""
        return (
            _passport(
                "update_to_weight_ratio",
                "update-to-weight ratio",
                (PARAMETER,),
                "Norm of the change that the optimizer's step makes to a parameter, over its norm before the step.",
            ),
            _passport(
                "network_update_to_weight_ratio",
                "update-to-weight ratio of the network",
                (NETWORK,),
                "Norm of the change over the norm before it, all weights of the network as one vector; biases and "
                "normalisation gains left out.",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Compare every parameter with itself before the update; the network's value needs all of its weights."""
        pairs = {name: (capture.parameters[name], after) for name, after in capture.updated.items()}
        if not pairs:
            return {}
        reading = {"update_to_weight_ratio": {name: update_to_weight_ratio(*pair) for name, pair in pairs.items()}}
        weights = [_norms(*pair) for name, pair in pairs.items() if name in capture.weights]
        if not weights or len(weights) < len(capture.weights):
            return reading
        update, weight = (torch.linalg.vector_norm(torch.stack(norms)) for norms in zip(*weights, strict=True))
        whole = torch.where(weight > 0, update / weight, torch.nan)
        return reading | {"network_update_to_weight_ratio": {capture.network: whole}}


def _norms(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(before.dtype, torch.float32)
    before = before.to(wide)
    return torch.linalg.vector_norm(after.to(wide) - before), torch.linalg.vector_norm(before)


def _passport(variable: str, long_name: str, dims: tuple[str, ...], description: str) -> Definition:
    return Definition(
        variable=variable,
        id=f"{variable}/one_step",
        long_name=long_name,
        units="1",
        dims=dims,
        description=description,
        valid_range="[0, inf)",
        pitfalls="Includes weight decay and momentum: it is the optimizer's step, not the gradient. A parameter of "
        "norm 0 before the step, such as a fresh bias, is NaN",
        reference="",
        cost="a copy of the parameters before the step and one pass after it",
    )
