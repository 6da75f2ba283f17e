"""How far one update of the optimizer moves the weights, and how far it means to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from plastikit.probes.entries import distance, distances, in_order, norm, norms, norms_before, over
from plastikit.schema import NETWORK, PARAMETER, Definition
from plastikit.watch.probe import Capture, Needs, Reading, Rows, Tier


def update_to_weight_ratio(before: Float[Tensor, "..."], after: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Norm of one update over the norm of what it updates: the step size that the function feels.

    Range: [0, ∞).  NaN: a parameter of norm 0 before the update, such as a fresh bias.
    Cost: a copy of the parameters and one pass.

    >>> update_to_weight_ratio(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    tensor(0.1000)
    """
    return over(distance(after, before), norm(before))


def effective_learning_rate(weight: Float[Tensor, "..."], learning_rate: float | Tensor) -> Float[Tensor, ""]:
    """Learning rate over the squared norm of a weight: how fast its direction can turn, where only that counts.

    It means something for weights whose scale does not change the function, such as those before a normalisation: a
    step of gradient descent turns them by this much per unit of the gradient taken at norm 1. Elsewhere it is a plain
    ratio, and under Adam, whose steps do not grow as the weight shrinks, the turn goes with one over the norm, not over
    its square.

    Range: [0, ∞), in 1 / weight².  NaN: a weight of norm 0.  Cost: one pass over the weight.
    Reference: Lyle et al. 2024, arXiv:2407.01800.

    >>> effective_learning_rate(torch.tensor([3.0, 4.0]), 0.1)
    tensor(0.0040)
    """
    size = norm(weight)
    return over(torch.as_tensor(learning_rate, device=size.device), size.square())


@dataclass(frozen=True)
class UpdateRatio:
    """Update-to-weight ratio of each parameter and, over its weights alone, of each network; effective learning rate.

    The learning rate is that of the update which the record describes, for each weight that an optimizer owns.
    """

    name = "updates"
    tier = Tier.STEP
    needs = Needs.PARAMETERS | Needs.UPDATES | Needs.OPTIMIZER

    @property
    def axes(self) -> Mapping[str, tuple[float, ...]]:
        """No dimension of its own."""
        return {}

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Passports of the three variables."""
        return (
            _ratio(
                "update_to_weight_ratio",
                "update-to-weight ratio",
                (PARAMETER,),
                "Norm of the change that the optimizer's step makes to a parameter, over its norm before the step.",
            ),
            _ratio(
                "network_update_to_weight_ratio",
                "update-to-weight ratio of the network",
                (NETWORK,),
                "Norm of the change over the norm before it, all weights of the network as one vector; biases and "
                "normalisation gains left out.",
            ),
            Definition(
                variable="effective_learning_rate",
                id="effective_learning_rate/lyle2024",
                long_name="effective learning rate",
                units="1 / weight^2",
                dims=(PARAMETER,),
                description="Learning rate of the update over the squared Frobenius norm of the weight before it.",
                valid_range="[0, inf)",
                pitfalls="Means something where the scale of a weight does not change the function, as before a "
                "normalisation; elsewhere it only mirrors the norm. It is the rate of plain gradient descent: under "
                "Adam the direction turns with the learning rate over the norm, not over its square. Biases and "
                "gains are NaN",
                reference="Lyle et al. 2024, Normalization and effective learning rates in reinforcement learning, "
                "arXiv:2407.01800",
                cost="one pass over the parameters",
            ),
        )

    def __call__(self, capture: Capture) -> Reading:
        """Compare every parameter with itself before the update; the network's value needs all of its weights."""
        updated = {name: after for name, after in capture.updated.items() if after.numel()}
        names = in_order(
            {name: after for name, after in updated.items() if name in capture.parameters}, capture.weights
        )
        if not names:
            return {}
        before, after = [capture.parameters[name] for name in names], [updated[name] for name in names]
        update, weight = distances(after, before), norms_before.of(capture.network, before, norms)
        reading = {"update_to_weight_ratio": Rows(names, over(update, weight))}
        count = sum(1 for name in names if name in capture.weights)
        if count and capture.weights <= capture.updated.keys():
            whole = torch.linalg.vector_norm(torch.stack([update[:count], weight[:count]]), dim=1).split(1)
            reading["network_update_to_weight_ratio"] = Rows((capture.network,), over(*whole))
        rated = [k for k, name in enumerate(names[:count]) if "lr" in capture.settings.get(name, {})]
        if rated:
            rates = _rates([capture.settings[names[k]]["lr"] for k in rated], like=weight)
            squared = (weight[:count] if len(rated) == count else weight[rated]).square()
            reading["effective_learning_rate"] = Rows((names[k] for k in rated), over(rates, squared))
        return reading


def _rates(values: Sequence[float | Tensor], *, like: Tensor) -> Float[Tensor, "parameter"]:
    if any(isinstance(value, Tensor) for value in values):
        rows = [torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(()) for value in values]
        return torch.stack(rows)
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _ratio(variable: str, long_name: str, dims: tuple[str, ...], description: str) -> Definition:
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
